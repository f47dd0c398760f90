"""Attempts on confinement: real daemons under `[security]` try what they must not, and do it freely without."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from duende.adapters.contract import AdapterEvent, EventKind
from duende.adapters.native.adapter import NativeAdapter
from duende.config.model import DaemonConfig, PlatformSection, SecurityConfig
from falsification.kit import Trial, attempt
from falsification.workbench import adapter_for, daemon_class, never, request
from fixtures import limited
from fixtures.programs import available, free_port, set_up

SIGSYS = 31


def _note_ready(ready: asyncio.Event, event: AdapterEvent) -> None:
    if event.kind is EventKind.READY:
        ready.set()


def program(name: str, code: str, *arguments: object, **security: Any) -> DaemonConfig:
    """A Python program under `[security]`."""
    config = limited.program(name, code, *arguments)
    fields = {key: getattr(config, key) for key in config.__struct_fields__}
    return DaemonConfig(**{**fields, "security": SecurityConfig(**security)})


async def word(trial: Trial, adapter: NativeAdapter, config: DaemonConfig) -> str:
    """The last line a program says, or how it ended."""
    handle = await limited.launch(adapter, config)
    speaking = asyncio.create_task(limited.said(adapter, handle, 10.0))
    ending = asyncio.create_task(adapter.wait(handle))
    await asyncio.wait((speaking, ending), return_when=asyncio.FIRST_COMPLETED)
    line = speaking.result() if speaking.done() else ""
    if not line and ending.done():
        lines = await adapter.logs(handle, 1)  # what it said before it ended
        line = lines[-1] if lines else str(ending.result())
    speaking.cancel()
    ending.cancel()
    await adapter.stop(handle, 5.0)
    trial.log(f"{config.name} {config.security}: {line}")
    return line


TRY = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
ctypes.set_errno(0)
result = libc.syscall(int(sys.argv[1]), 0, 0, 0, 0, 0)
print(f"returned {result} errno {ctypes.get_errno()}", flush=True)
time.sleep(600)
"""
CALLS = {
    "ptrace": 101,
    "mount": 165,
    "swapon": 167,
    "reboot": 169,
    "keyctl": 250,
    "unshare": 272,
    "perf_event_open": 298,
    "bpf": 321,
}
"""Of x86-64: each with arguments that do nothing."""


@attempt("F071", timeout=90, saboteurs=["filter-is-not-installed", "filter-allows-what-it-does-not-know"])
async def test_a_forbidden_call_kills(trial: Trial) -> None:
    """Under each profile a forbidden system call ends the daemon by SIGSYS; without one it returns."""
    trial.require("linux")
    trial.situation("a forbidden call was made", at_least=9)
    trial.situation("the same call returned without a profile", at_least=7)
    adapter = await adapter_for(trial)
    calls = dict(CALLS)
    if os.uname().machine != "x86_64":
        from duende.kernel.syscalls import ARM64

        calls = {name: ARM64[name] for name in CALLS}
    for name, number in calls.items():
        if name != "reboot":
            free = await word(trial, adapter, program("free", TRY, number))
            trial.reached("the same call returned without a profile", free.startswith("returned"))
        for profile in (
            ("compute", "service", "network-service") if name in ("ptrace", "mount") else ("network-service",)
        ):
            said = await word(trial, adapter, program("bound", TRY, number, seccomp=profile))
            trial.check(
                "SIGSYS" in said or f"signal {SIGSYS}" in said,
                f"{name} under {profile}: killed by SIGSYS, not {said!r}",
            )
            trial.reached("a forbidden call was made")
    denied = await word(trial, adapter, program("denied", TRY, calls["keyctl"], seccomp_deny=("keyctl",)))
    trial.check("SIGSYS" in denied, f"denied without a profile: {denied!r}")
    failing = await word(
        trial, adapter, program("failing", TRY, calls["keyctl"], seccomp="service", seccomp_action="errno")
    )
    trial.check(failing == "returned -1 errno 1", f'with action "errno" it fails with EPERM: {failing!r}')


async def musl_serves(trial: Trial, adapter: NativeAdapter) -> None:
    """A program of another C library has threads, files, children and a socket under network-service, linked in both ways."""
    source = Path(limited.__file__).with_name("corpus.c")
    for kind, flags in (("shared", ()), ("static", ("-static",))):
        made = trial.tmp / f"corpus-{kind}"
        line = ["musl-gcc", "-O2", *flags, "-o", str(made), str(source)]
        subprocess.run(line, check=True, capture_output=True, timeout=60)
        port = free_port()
        config = DaemonConfig(
            name=f"musl-{kind}",
            binary_path=str(made),
            args=(str(port),),
            security=SecurityConfig(seccomp="network-service"),
        )
        handle = await adapter.launch(request(never(config)))
        answer = await trial.until(partial(first_byte, port), within=15, what="it answers", claimed=True)
        trial.check(answer == b"7", f"all seven things worked ({kind}): {answer!r}")
        await adapter.stop(handle, 5.0)
        trial.reached("a program did its work under a profile")


def first_byte(port: int) -> bytes:
    """What a server on loopback says first; nothing while nobody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(1)
    except OSError:
        return b""


COMPUTE = """
import hashlib, tempfile, time
with tempfile.TemporaryFile() as file:
    file.write(b"x" * 9999)
print(hashlib.sha256(b"x" * 10**6).hexdigest()[:8], flush=True)
time.sleep(600)
"""


@attempt(
    "F072",
    timeout=120,
    needs=["musl-gcc", "busybox"],
    saboteurs=["profile-lacks-a-call", "filter-kills-everything"],
)
async def test_permitted_calls_succeed(trial: Trial) -> None:
    """Real programs run and serve under the profiles: a Daemon class, CPython's HTTP server, redis, nginx, shells that start programs, a server with
    musl for its C library, a computation.
    """
    trial.situation("a program did its work under a profile", at_least=8)
    adapter = await adapter_for(trial)
    said = await word(trial, adapter, program("compute", COMPUTE, seccomp="compute"))
    trial.check(len(said) == 8, f"a computation under compute: {said!r}")
    trial.reached("a program did its work under a profile")
    script = "ls / >/dev/null && echo hello | tr a-z A-Z; sleep 600"
    for name, shell in (("shell", ("/bin/sh",)), ("busybox", ("/bin/busybox", "sh"))):
        config = DaemonConfig(
            name=name,
            binary_path=shell[0],
            args=(*shell[1:], "-c", script),
            security=SecurityConfig(seccomp="service", no_new_privileges=True),
        )
        said = await word(trial, adapter, never(config))
        trial.check(said == "HELLO", f"{name} with programs under service: {said!r}")
        trial.reached("a program did its work under a profile")
    await musl_serves(trial, adapter)
    for preload in (True, False):
        config = daemon_class(
            "Waiter",
            f"waiter-{preload}",
            security=SecurityConfig(seccomp="service"),
            platform=PlatformSection(native={"preload": preload}),
        )
        ready = asyncio.Event()
        adapter.subscribe(partial(_note_ready, ready))
        handle = await adapter.launch(request(config))
        await trial.until(ready.is_set, within=15, what="a Daemon class is ready under service", claimed=True)
        seen = next(
            line
            for line in Path(f"/proc/{handle.pid}/status").read_text().splitlines()
            if line.startswith("Seccomp:")
        )
        trial.check(seen.split()[1] == "2", f"and is filtered: {seen}")
        proof = await adapter.stop(handle, 5.0)
        trial.check(
            proof.exit is not None and proof.exit.ok and not proof.escalated,
            f"it ends as it should: {proof.exit}",
        )
        trial.reached("a program did its work under a profile")
    for kind in available():
        if kind not in ("redis", "nginx", "http"):
            continue
        server = set_up(kind, trial.tmp / kind)
        fields = {key: getattr(server.config, key) for key in server.config.__struct_fields__}
        config = never(DaemonConfig(**{**fields, "security": SecurityConfig(seccomp="network-service")}))
        handle = await adapter.launch(request(config))
        await trial.until(server.works, within=20, what=f"{kind} answers under network-service", claimed=True)
        await adapter.stop(handle, 10.0)
        trial.reached("a program did its work under a profile")
        trial.log(f"{kind} served")


OPEN = """
import errno, sys, time
for path in sys.argv[2:]:
    try:
        with open(path, sys.argv[1]) as file:
            file.read() if sys.argv[1] == "r" else file.write("x")
        print(f"opened {path}", flush=True)
    except OSError as error:
        print(f"{errno.errorcode[error.errno]} {path}", flush=True)
time.sleep(600)
"""


@attempt("F073", timeout=60, saboteurs=["files-are-not-confined"])
async def test_files_are_confined(trial: Trial) -> None:
    """A path outside the allowed set gives EACCES to root, to read and to write; one inside does not."""
    trial.situation("a path outside was tried", at_least=3)
    trial.situation("the same path was open without confinement", at_least=2)
    adapter = await adapter_for(trial)
    inside, kept, outside = (trial.tmp / name for name in ("inside", "kept", "outside"))
    for folder in (inside, kept, outside):
        folder.mkdir()
        (folder / "file").write_text("text")
    rules: dict[str, Any] = {
        "readable_paths": (str(inside), sys.prefix, sys.base_prefix),
        "writable_paths": (str(kept),),
    }
    for mode, path, expected in (
        ("r", inside / "file", "opened"), ("r", kept / "file", "opened"), ("a", kept / "file", "opened"), ("r", outside / "file", "EACCES"),
        ("a", inside / "file", "EACCES"), ("r", "/etc/shadow", "EACCES"), ("a", outside / "new", "EACCES"),
    ):  # fmt: skip
        said = await word(trial, adapter, program("bound", OPEN, mode, path, **rules))
        trial.check(said == f"{expected} {path}", f"{mode} {path}: {expected}, not {said!r}")
        trial.reached("a path outside was tried", expected == "EACCES")
        if expected == "EACCES":
            free = await word(trial, adapter, program("free", OPEN, mode, path))
            trial.reached("the same path was open without confinement", free.startswith("opened"))


SOCKET = """
import errno, socket, sys, time
for family, kind in ((socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)):
    try:
        socket.socket(family, kind).close()
        word = "open"
    except OSError as error:
        word = errno.errorcode[error.errno]
    sys.stdout.write(f"{word} ")
print(flush=True)
time.sleep(600)
"""


@attempt("F074", timeout=60, saboteurs=["network-stays-on"])
async def test_the_network_is_off(trial: Trial) -> None:
    """With network = false socket() gives EPERM, for IPv4 and IPv6, in a program and in the profile's daemon; AF_UNIX stays."""
    trial.situation("a socket was asked for", at_least=2)
    trial.situation("sockets were to be had without it")
    adapter = await adapter_for(trial)
    free = (await word(trial, adapter, program("free", SOCKET))).split()
    trial.reached("sockets were to be had without it", free[0] == "open")
    for rules in (
        {"network": False},
        {"network": False, "seccomp": "network-service"},
        {"seccomp": "service"},
    ):
        said = (await word(trial, adapter, program("bound", SOCKET, **rules))).split()
        trial.check(said[:2] == ["EPERM", "EPERM"], f"socket() gives EPERM under {rules}: {said}")
        trial.check(said[2] == "open", f"AF_UNIX stays, for readiness: {said}")
        trial.reached("a socket was asked for")


RAW = """
import errno, socket, time
try:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    print("open", flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
time.sleep(600)
"""


@attempt("F075", timeout=60, saboteurs=["capabilities-stay"])
async def test_dropped_capabilities_are_gone(trial: Trial) -> None:
    """Root without NET_RAW gets EPERM for a raw socket, whether it dropped that alone or all; with it, and with it given back, it gets one."""
    trial.situation("a raw socket was asked for", at_least=2)
    trial.situation("with the capability there was one", at_least=2)
    adapter = await adapter_for(trial)
    free = await word(trial, adapter, program("free", RAW))
    trial.reached("with the capability there was one", free == "open")
    kept = await word(
        trial, adapter, program("kept", RAW, drop_capabilities=("ALL",), add_capabilities=("NET_RAW",))
    )
    trial.check(kept == "open", f"what is added stays: {kept!r}")
    trial.reached("with the capability there was one")
    for dropped in ("NET_RAW", "ALL"):
        said = await word(trial, adapter, program("bound", RAW, drop_capabilities=(dropped,)))
        trial.check(said == "EPERM", f"without {dropped}: EPERM, not {said!r}")
        trial.reached("a raw socket was asked for")
