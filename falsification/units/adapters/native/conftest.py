"""An adapter whose warden is a fork of the test process, so that its coverage is measured too."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from duende.adapters.early import fork_helper
from duende.adapters.native.adapter import NativeAdapter
from duende.adapters.native.link import Link

MakeAdapter = Callable[..., NativeAdapter]


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Makes adapters with forked wardens in a short folder."""

    def make(*, keep: bool = False) -> NativeAdapter:
        folder = str(tmp_path)
        ours, pid = fork_helper(folder, keep=keep)
        link = Link(socket.socket(fileno=ours), pid)
        return NativeAdapter(runtime_dir=folder, state_dir=folder, keep=keep, link=link)

    os.chmod(tmp_path, 0o755)
    return make
