"""`python -m duende` is the `duende` command."""

from __future__ import annotations

import sys

from duende.cli import main

if __name__ == "__main__":
    sys.exit(main())
