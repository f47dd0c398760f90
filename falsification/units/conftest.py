"""Settings of all unit tests: no deadline for hypothesis (these machines are shared), the seed printed when something fails."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("duende", deadline=None, max_examples=60, print_blob=True)
settings.load_profile("duende")
