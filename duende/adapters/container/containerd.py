"""containerd behind the `Engine` protocol, through its `ctr` program: what ctr has no argument for is refused or reported, never dropped."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal as signals
import socket as sockets
import subprocess
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from duende.adapters.container import ctr_text
from duende.adapters.container.engine import Event, Facts, Happening, Plan, Runtime, State, fixed
from duende.adapters.container.plan import LABEL_ID
from duende.adapters.container.render import ctr_arguments
from duende.adapters.container.threads import Threads
from duende.adapters.native.logs import prepare, tail
from duende.errors import (
    AccessError,
    InstanceNotFoundError,
    InvalidStateError,
    NotSupportedError,
    PlatformIOError,
    PlatformTimeoutError,
    SpawnError,
)

NAMESPACE = "duende"
"""Of containerd: our containers and images are apart from those of Kubernetes ("k8s.io") and Docker ("moby")."""
PULL_TIMEOUT = 600.0
FOLLOW_EVERY = 0.05
"""Seconds between looks at a log that is followed until its daemon is ready: containerd has no stream of output."""
LABEL_MAX = 4096
"""containerd: bytes of one label, key and value together (labels/validate.go)."""


class Containerd:
    """One containerd socket."""

    runtime = Runtime.CONTAINERD

    def __init__(self, socket: str, timeout: float) -> None:
        self.socket = socket
        self.timeout = timeout
        self._threads = Threads()
        self._plans: dict[str, Plan] = {}
        """Made in one call with their start: `ctr containers create` takes the program's own flags for its own (1.6)."""
        self._exits: dict[str, int] = {}
        self._facts: Facts | None = None
        self._serial = 0

    async def facts(self) -> Facts:
        """What containerd says of itself; asked once."""
        if self._facts is None:
            text = await self._run("version")
            self._facts = Facts(runtime=self.runtime, version=ctr_text.version_of(text))
        return self._facts

    async def create(self, plan: Plan, *, pull: bool) -> str:
        """Check what `start` needs; see `Engine.create`.

        Raises:
            SpawnError: its image is absent.
            InvalidStateError: its name is taken.
        """
        plan = msgspec.structs.replace(plan, image=ctr_text.reference(plan.image))
        images = (await self._run("images", "ls", "-q")).split()
        if plan.image not in images:
            if not pull:
                raise SpawnError(
                    f"cannot start {plan.labels.get('duende.daemon.name', plan.name)!r}: containerd has no image {plan.image!r} in its namespace {NAMESPACE!r}",
                    errno=2,
                    step="image",
                    path=plan.image,
                    remedy=f'ctr -n {NAMESPACE} images pull {plan.image}, or import it, or set platform.container.pull = "missing"',
                )
            try:
                await self._run("images", "pull", plan.image, timeout=PULL_TIMEOUT)
            except PlatformIOError as error:
                raise SpawnError(
                    f"cannot fetch the image {plan.image!r}: {error}",
                    errno=2,
                    step="image",
                    path=plan.image,
                    remedy="check its name and the way to its registry, or import it by hand",
                ) from error
        if plan.name in (await self._run("containers", "ls", "-q")).split():
            raise InvalidStateError(f"containerd: the container {plan.name!r} already exists")
        self._plans[plan.name] = plan
        return plan.name

    async def start(self, container: str) -> None:
        """Make and start it; see `Engine.start`.

        Raises:
            SpawnError: containerd or runc refuses, or the log cannot be written.
            InstanceNotFoundError: `create` was not called for it.
        """
        plan = self._plans.pop(container, None)
        if plan is None:
            raise InstanceNotFoundError(f"containerd: {container!r} was not made here")
        log = plan.log_options.get("path", "") if plan.log_driver != "none" else ""
        if log:
            prepare(log)
            os.truncate(log, 0)  # a new container starts with no output
            plan = msgspec.structs.replace(plan, labels={**plan.labels, ctr_text.LABEL_LOG: log})
        for key, value in plan.labels.items():
            if len(key) + len(value) > LABEL_MAX:
                raise SpawnError(f"containerd takes no label {key!r} of {len(value)} bytes", step="start")
        try:
            await self._run(*ctr_arguments(plan, log), timeout=3 * self.timeout)
        except (PlatformIOError, InstanceNotFoundError, InvalidStateError) as error:
            raise SpawnError(str(error), step="start") from error

    async def inspect(self, container: str) -> State:
        """Describe it; see `Engine.inspect`."""
        info = ctr_text.info_of(await self._run("containers", "info", container))
        task = ctr_text.tasks_of(await self._run("tasks", "ls")).get(container)
        state = ctr_text.state_of(info, task)
        if task is None or task[1] != "exited":
            return state
        return ctr_text.state_of(await self._collect(container), None)

    async def _collect(self, container: str) -> dict[str, Any]:
        """The task has ended: take its exit, and keep it on the container, as containerd keeps it only with the task."""
        try:
            _, stderr = await self._both("tasks", "rm", container)
            code = self._exits.get(container, ctr_text.exit_in(container, stderr))
            await self._run("containers", "label", container, f"{ctr_text.LABEL_EXIT}={code}")
        except InstanceNotFoundError:
            pass  # somebody else was quicker, and has kept it
        return ctr_text.info_of(await self._run("containers", "info", container))

    async def describe(self, container: str) -> dict[str, Any]:
        """The OCI specification in Docker's words; see `Engine.describe`."""
        spec = ctr_text.info_of(await self._run("containers", "info", container)).get("Spec") or {}
        process, linux = spec.get("process") or {}, spec.get("linux") or {}
        resources = linux.get("resources") or {}
        cpu, memory = resources.get("cpu") or {}, resources.get("memory") or {}
        mounts = spec.get("mounts") or []
        return {
            "Config": {"WorkingDir": process.get("cwd"), "User": ""},
            "Mounts": [
                {"Destination": each.get("destination"), "RW": "ro" not in (each.get("options") or [])}
                for each in mounts
            ],
            "HostConfig": {
                "SecurityOpt": [f"seccomp={msgspec.json.encode(linux['seccomp']).decode()}"]
                if linux.get("seccomp")
                else [],
                "NetworkMode": "none" if _own_network(linux) else "host",
                "Memory": memory.get("limit"),
                "CpuQuota": cpu.get("quota"),
                "CpuPeriod": cpu.get("period"),
                "CpuShares": cpu.get("shares"),
                "ReadonlyRootfs": (spec.get("root") or {}).get("readonly", False),
                "Tmpfs": {each["destination"]: "" for each in mounts if each.get("type") == "tmpfs"},
                "CapAdd": (process.get("capabilities") or {}).get("bounding"),
                "Ulimits": [
                    {"Name": each.get("type", ""), "Soft": each.get("soft")}
                    for each in process.get("rlimits") or ()
                ],
                "LogConfig": {"Type": "file", "Config": {}},
            },
        }

    async def kill(self, container: str, number: int) -> None:
        """Send a signal; see `Engine.kill`."""
        await self._run("tasks", "kill", "-s", str(number), container)

    async def pause(self, container: str) -> None:
        """Freeze it; see `Engine.pause`."""
        await self._run("tasks", "pause", container)

    async def unpause(self, container: str) -> None:
        """Thaw it; see `Engine.unpause`."""
        await self._run("tasks", "resume", container)

    async def update(self, container: str, limits: dict[str, Any]) -> None:
        """Nothing `ctr` could do; see `Engine.update`.

        Raises:
            NotSupportedError: always.
        """
        del container, limits
        raise fixed(self.runtime)

    async def rename(self, container: str, name: str) -> None:
        """Cannot be done; see `Engine.rename`.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError("containerd", f"call {container} {name}", remedy="remove it")

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove task, container and snapshot; see `Engine.remove`."""
        self._plans.pop(container, None)
        self._exits.pop(container, None)
        try:
            await self._run("tasks", "rm", *(["-f"] if force else []), container)
        except InstanceNotFoundError:
            pass  # its exit was collected, or it never started
        await self._run("containers", "rm", container)

    async def logs(self, container: str, lines: int) -> list[str]:
        """The last lines of its log file; see `Engine.logs`."""
        path = await self._log_of(container)
        return tail(path, lines) if path else []

    async def follow(self, container: str) -> AsyncIterator[str]:
        """Every line of its log file; see `Engine.follow`."""
        path = await self._log_of(container)
        if not path:
            return
        rest = b""
        with open(path, "rb") as file:  # noqa: ASYNC230  (a local file that was just written)
            while True:
                piece = file.read(65536)
                if not piece:
                    await asyncio.sleep(FOLLOW_EVERY)
                    if container in self._exits and not file.peek(1):
                        break
                    continue
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    async def _log_of(self, container: str) -> str:
        info = ctr_text.info_of(await self._run("containers", "info", container))
        return str((info.get("Labels") or {}).get(ctr_text.LABEL_LOG, ""))

    async def events(self, since: str) -> AsyncIterator[Event]:  # noqa: ARG002  (containerd keeps no events: all is looked after)
        """What happens; see `Engine.events`."""
        self._check_socket()
        process = await asyncio.get_running_loop().run_in_executor(None, self._watch_events)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), process.stdout
        )
        try:
            await self._run("version")  # by the time this is answered the other has subscribed
            yield Event(what=Happening.CONNECTED)
            while line := await reader.readline():
                event = ctr_text.event_of(line, NAMESPACE)
                if event is None:
                    continue
                if event.what is Happening.DIED and event.exit_code is not None:
                    self._exits[event.id] = event.exit_code
                yield event
        finally:
            transport.close()
            if process.poll() is None:
                process.kill()  # our own child, not reaped yet: the number is its own
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, process.wait))

    def _watch_events(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._program(), "-a", self.socket, "-n", NAMESPACE, "events"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def run_inside(self, container: str, argv: Sequence[str], timeout: float) -> int:
        """Run a program in it; see `Engine.run_inside`."""
        self._serial += 1
        name = f"duende-{os.getpid()}-{self._serial}"
        try:
            code, _, _ = await self._call(["tasks", "exec", "--exec-id", name, container, *argv], timeout)
        except PlatformTimeoutError:
            return -1
        return code

    async def mine(self) -> list[str]:
        """Ids of all containers with our label."""
        return (await self._run("containers", "ls", "-q", f"labels.{LABEL_ID!r}")).split()

    async def close(self) -> None:
        """Nothing is held."""

    # -- running ctr -----------------------------------------------------------------------------------------------------------

    async def _run(self, *words: str, timeout: float | None = None) -> str:
        return (await self._both(*words, timeout=timeout))[0]

    async def _both(self, *words: str, timeout: float | None = None) -> tuple[str, str]:
        code, out, err = await self._call(list(words), timeout or self.timeout)
        if code == 0:
            return out, err
        text = _last_error(err) or f"ctr {words[0]} ended with {code}"
        if re.search(r"not found$", text):
            raise InstanceNotFoundError(f"containerd: {text}")
        if "already exists" in text or "failed precondition" in text or "process already finished" in text:
            raise InvalidStateError(f"containerd: {text}")
        raise PlatformIOError(f"containerd: {text}", remedy=f"check that containerd answers at {self.socket}")

    async def _call(self, words: list[str], timeout: float) -> tuple[int, str, str]:
        self._check_socket()
        argv = [self._program(), "-a", self.socket, "-n", NAMESPACE, *words]

        def work() -> tuple[int, str, str]:
            try:
                done = subprocess.run(
                    argv,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=timeout,
                    check=False,
                    start_new_session=True,
                )
            except subprocess.TimeoutExpired as error:
                raise PlatformTimeoutError(
                    f"have an answer of containerd at {self.socket}", timeout
                ) from error
            out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
            if done.returncode < 0:
                name = signals.Signals(-done.returncode).name
                raise PlatformIOError(f"ctr was killed by {name}: {err[-200:]}")
            return done.returncode, out, err

        # The program is ended at its deadline; one second more covers the start of a thread.
        return await self._threads.call(f"have an answer of containerd at {self.socket}", timeout + 1.0, work)

    def _program(self) -> str:
        found = shutil.which("ctr")
        if found is None:
            raise NotSupportedError(
                "containerd", "be driven here: there is no program ctr", remedy="apt-get install containerd"
            )
        return found

    def _check_socket(self) -> None:
        """Say what is wrong with the socket at once: ctr itself tries for ten seconds and says "deadline exceeded" to everything."""
        probe = sockets.socket(sockets.AF_UNIX)
        try:
            probe.setblocking(False)
            probe.connect(self.socket)
        except PermissionError as error:
            raise AccessError(
                f"cannot reach containerd: {self.socket} may not be opened by this user", remedy="run as root"
            ) from error
        except BlockingIOError:
            return  # its queue is full: it is there, and busy
        except OSError as error:
            raise PlatformIOError(
                f"cannot reach containerd: {self.socket}: {error.strerror or error}",
                remedy="start containerd, or give the right socket",
            ) from error
        finally:
            probe.close()


def _last_error(stderr: str) -> str:
    """Ctr's own last line; it starts with its name."""
    lines = [line for line in stderr.splitlines() if line.startswith("ctr: ")]
    return lines[-1].removeprefix("ctr: ") if lines else (stderr.strip().splitlines() or [""])[-1]


def _own_network(linux: dict[str, Any]) -> bool:
    """Whether a container has a network namespace of its own that nobody connects; by `--cni` it is one with a path."""
    spaces = [each for each in linux.get("namespaces") or () if each.get("type") == "network"]
    return bool(spaces) and not spaces[0].get("path")
