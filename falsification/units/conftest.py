"""Settings of all fast tests."""

from __future__ import annotations

from hypothesis import settings

# A machine that is busy with something else must not fail a law; a hung test still ends, by its timeout.
settings.register_profile("units", deadline=None, print_blob=True)
settings.load_profile("units")
