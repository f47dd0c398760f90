"""`python -m falsification [ids]`: see `falsification.kit.driver`."""

from __future__ import annotations

import sys

from falsification.kit.driver import main

sys.exit(main())
