"""Layouts against the kernel's header, settings, backings, the ring; the command on the model's devices."""

from __future__ import annotations

import errno
import json
import mmap
import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende import cli
from duende.cli import blockdevices, exits
from duende.config.model import DaemonConfig
from duende.errors import ConfigError, DaemonIOError, SerializationError, UblkError
from duende.kernel.uring import Ring
from duende.ublk import DeviceInfo, Feature, Parameters, UblkControl
from duende.ublk import layout as known
from duende.ublk.backing import File, Memory
from duende.ublk.channel import KernelChannel
from duende.ublk.layout import Op, control_command, mark_of
from duende.ublk.settings import settings_of
from fixtures.ublk.model import Model

U16, U32 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1)
HEADER = Path("/usr/include/linux/ublk_cmd.h")


@given(U16, U16, U16, U32, U32, st.integers(-1, 2**22), st.integers(0, 2**64 - 1))
def test_an_info_is_read_back(
    queues: int, depth: int, state: int, most: int, device: int, pid: int, flags: int
) -> None:
    """Whatever it says; and its mark is that of the process, or none."""
    info = DeviceInfo(
        queues=queues,
        depth=depth,
        state=state,
        max_io_bytes=most,
        device=device,
        server_pid=pid,
        flags=flags,
        server_flags=mark_of(77),
    )
    assert DeviceInfo.unpack(info.pack()) == info
    assert len(info.pack()) == 64
    assert (info.adder, DeviceInfo(server_flags=flags & 0xFFFF).adder) == (77, 0)
    assert info.state_name


@given(st.integers(0, 2**40), st.integers(9, 12), U32)
def test_parameters_are_read_back(sectors: int, shift: int, most: int) -> None:
    """But for the numbers of devices, which are the kernel's."""
    wanted = Parameters(sectors=sectors, logical_shift=shift, max_sectors=most)
    assert Parameters.unpack(wanted.pack()) == wanted


def test_what_is_too_short() -> None:
    """Is refused, with its size."""
    with pytest.raises(SerializationError, match="63 bytes"):
        DeviceInfo.unpack(bytes(63))
    with pytest.raises(SerializationError, match="8 bytes"):
        Parameters.unpack(bytes(8))


def test_operations_are_those_of_the_contract() -> None:
    """The encoded values, worked out by hand elsewhere."""
    assert (Op.ADD_DEV, Op.GET_DEV_INFO, Op.GET_FEATURES) == (0xC0207504, 0x80207502, 0x80207513)
    assert (known.IoOp.FETCH_REQ, known.IoOp.COMMIT_AND_FETCH_REQ) == (0xC0107520, 0xC0107521)
    assert control_command(3, address=5, length=7, data=9).hex() == (
        "03000000" "ffff" "0700" "0500000000000000" "0900000000000000" "0000" "0000" "00000000"
    )  # fmt: skip


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers (linux-libc-dev) are not installed")
def test_the_kernels_header(tmp_path: Path) -> None:
    """Sizes and places of what the installed header has, by the compiler."""
    fields = {
        "struct ublksrv_ctrl_cmd": ("dev_id", "queue_id", "len", "addr"),
        "struct ublksrv_ctrl_dev_info": (
            "nr_hw_queues",
            "max_io_buf_bytes",
            "dev_id",
            "ublksrv_pid",
            "flags",
        ),
        "struct ublksrv_io_desc": ("op_flags", "nr_sectors", "start_sector", "addr"),
        "struct ublksrv_io_cmd": ("q_id", "tag", "result", "addr"),
        "struct ublk_param_basic": ("attrs", "max_sectors", "dev_sectors"),
    }
    lines = [
        f'printf("%zu {" ".join(["%zu"] * len(names))}\\n", sizeof({name}), {", ".join(f"offsetof({name}, {each})" for each in names)});'
        for name, names in fields.items()
    ]
    source = tmp_path / "sizes.c"
    source.write_text(
        f"#include <stddef.h>\n#include <stdio.h>\n#include <linux/ublk_cmd.h>\nint main(void) {{ {''.join(lines)} return 0; }}\n"
    )
    if subprocess.run(["gcc", "-o", str(tmp_path / "sizes"), str(source)], check=False).returncode:
        pytest.skip("no compiler here")
    told = subprocess.run([str(tmp_path / "sizes")], capture_output=True, text=True, check=True).stdout
    assert [[int(each) for each in line.split()] for line in told.splitlines()] == [
        [32, 0, 4, 6, 8],
        [64, 0, 8, 12, 16, 24],
        [24, 0, 4, 8, 16],
        [16, 0, 2, 4, 8],
        [32, 0, 8, 16],
    ]


def settings(**given: Any) -> DaemonConfig:
    """A configuration of a server."""
    return DaemonConfig(name="b", daemon="duende.ublk.server:BlockServer", settings=given)


def test_settings() -> None:
    """Sizes are read."""
    found = settings_of(settings(size="32MiB", path="/x", recovery=True, device=3, max_io="64KiB"))
    assert (found.bytes, found.max_io_bytes, found.device) == (32 << 20, 1 << 16, 3)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "size"),
        ({"size": "1000"}, "settings.size"),
        ({"size": "8MiB", "queues": 0}, "settings.queues"),
        ({"size": "8MiB", "depth": 4096}, "settings.depth"),
        ({"size": "8MiB", "recovery": True, "path": "/x"}, "settings.recovery"),
        ({"size": "8MiB", "recovery": True, "device": 1}, "settings.recovery"),
        ({"size": "8MiB", "max_io": "1KiB"}, "settings.max_io"),
        ({"size": "8MiB", "deepness": 3}, "deepness"),
        ({"size": "8MiB", "bytes": 3}, "settings.bytes"),
    ],
)
def test_settings_that_are_of_no_use(given: dict[str, Any], told: str) -> None:
    """The key is named, with what would be of use."""
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        settings_of(settings(**given))
    assert caught.value.remedy


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_backings(kind: str, tmp_path: Path) -> None:
    """What is written is read, through a file in the place of a device; zeroes are zeroes; what does not arrive whole is an error."""
    size = 64 << 12
    backing = (
        Memory(size) if kind == "memory" else File(str(tmp_path / "blocks"), size, room=1 << 16, slots=2)
    )
    data = os.urandom(8192)
    with tempfile.TemporaryFile(buffering=0) as node:
        node.write(data)
        backing.write(node.fileno(), 0, 4096, 8192, 1)
        backing.read(node.fileno(), 8192, 4096, 8192, 1)
        assert os.pread(node.fileno(), 8192, 8192) == data
        backing.zero(4096, 4096)
        backing.read(node.fileno(), 0, 4096, 8192, 0)
        assert os.pread(node.fileno(), 8192, 0) == bytes(4096) + data[4096:]
        with pytest.raises(OSError, match="of 4096") as caught:
            backing.write(node.fileno(), 1 << 20, 0, 4096, 0)
        assert caught.value.errno == errno.EIO
        backing.flush()
    backing.close()


def test_a_file_that_cannot_be_had(tmp_path: Path) -> None:
    """Is told before anything is served."""
    with pytest.raises(DaemonIOError, match=r"settings\.path"):
        File(str(tmp_path), 1 << 16, room=4096, slots=1)


def test_no_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What to do is said; the command fails with it where this kernel has none."""
    with pytest.raises(UblkError, match="modprobe") as caught:
        KernelChannel(str(tmp_path / "none"))
    assert (caught.value.errno, caught.value.command) == (errno.ENOENT, "open")
    if not os.path.exists(known.CONTROL):
        assert cli.main(["ublk", "list"]) == exits.FAILED
        assert "modprobe ublk_drv" in capsys.readouterr().err
    assert cli.main(["ublk", "info"]) == exits.FAILED
    assert "needs the number" in capsys.readouterr().err


def test_the_ring_carries_and_waits() -> None:
    """A command to what takes none is refused by the kernel; waiting for nothing ends in time; cancelling what is not there says so."""
    try:
        ring = Ring(2, wide=True)
    except OSError as error:
        pytest.skip(f"no io_uring here: {error}")
    with ring, mmap.mmap(-1, 4096):
        assert not ring.submit(1, 0.01)
        with tempfile.TemporaryFile() as file:
            ring.command(file.fileno(), 1, b"x" * 32, 7)
            ring.cancel(99, 8)
            with pytest.raises(OSError, match="full"):
                ring.command(file.fileno(), 1, b"", 9)
            assert ring.submit(2, 5.0)
        assert sorted(ring.completions()) == [(7, -errno.EOPNOTSUPP), (8, -errno.ENOENT)]
        assert ring.completions() == []


def test_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, tells of one and cleans up, on the model's devices."""
    model = Model(tmp_path)
    monkeypatch.setattr(blockdevices, "UblkControl", lambda: UblkControl(model, nodes=str(tmp_path)))
    assert cli.main(["ublk", "list"]) == exits.OK
    assert capsys.readouterr().out == "no ublk devices\n"
    with UblkControl(model, nodes=str(tmp_path)) as control:
        for pid in (os.getpid(), 2**22 - 1):
            made = control.add(DeviceInfo(depth=8, flags=Feature.USER_COPY, server_flags=mark_of(pid)))
            control.set_parameters(made.device, Parameters(sectors=16384))
    assert cli.main(["ublk", "list"]) == exits.OK
    lines = capsys.readouterr().out.splitlines()
    assert "setting it up" in lines[1]
    assert "orphan: DEAD, and its server is gone" in lines[2]
    assert cli.main(["ublk", "info", "1"]) == exits.OK
    assert "8 MiB" in capsys.readouterr().out
    assert cli.main(["ublk", "info", "1", "--json"]) == exits.OK
    assert "USER_COPY" in json.loads(capsys.readouterr().out)["result"]["flags"]
    assert cli.main(["ublk", "cleanup"]) == exits.OK
    assert capsys.readouterr().out == "ublk device 1: removed: deleted\n"
    assert cli.main(["ublk", "cleanup"]) == exits.OK
    assert capsys.readouterr().out == "no orphans\n"
    assert cli.main(["ublk", "info", "1"]) == exits.NOT_FOUND
