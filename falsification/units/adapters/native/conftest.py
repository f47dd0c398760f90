"""An adapter whose warden is a fork of the test process, so that its coverage is measured too."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from duende.adapters.native.adapter import NativeAdapter
from duende.adapters.native.link import Link
from duende.adapters.native.warden.start import fork_warden, listen

MakeAdapter = Callable[..., NativeAdapter]


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Makes adapters with forked wardens in a short folder."""

    def make(*, keep: bool = False) -> NativeAdapter:
        folder = str(tmp_path)
        ours, theirs = socket.socketpair()
        listener = listen(f"{folder}/warden.sock") if keep else None
        pid = fork_warden(theirs, [ours], listener, keep=keep)
        theirs.close()
        if listener is not None:
            listener.close()
        return NativeAdapter(runtime_dir=folder, state_dir=folder, keep=keep, link=Link(ours, pid))

    os.chmod(tmp_path, 0o755)
    return make
