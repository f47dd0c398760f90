"""What a freshly forked child of the preloaded interpreter runs. Importing this module is the preloading."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import duende.host.endpoint
import duende.host.lifecycle
import duende.mlock
from duende.config.load import decode_json
from duende.errors import DuendeError
from duende.host import exitcodes, main

LOADED = (asyncio, duende.host.endpoint, duende.host.lifecycle)
"""Kept, so that nobody takes these imports for unused."""


def run_preloaded(spec: dict[str, Any]) -> int:
    """Run the daemon of *spec* (`target`, `config` as JSON, `path` to import from, `source` to reload from);
    the exit code.
    """
    duende.host.lifecycle.hold_early_signals()
    if spec.get("path"):
        sys.path.insert(0, spec["path"])
    sys.argv = [spec["target"]]
    try:
        config = decode_json(spec["config"])
    except DuendeError as error:
        sys.stderr.write(f"duende: {error}\n")
        return exitcodes.CONFIG
    options = {"--config": spec["source"]} if spec.get("source") else {}
    return main.run_target(spec["target"], config, options)
