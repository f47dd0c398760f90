"""Docker and Podman behind the `Engine` protocol.

What belongs to the life of a daemon goes over `http`: the package takes 4 times as long for an inspect, and loading it half a second, more than a
container takes to start. What is rare and where it knows more goes through the `docker` package in bounded threads: fetching an image with
the user's registry credentials, and running a program in a container.
"""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from duende.adapters.container import parse
from duende.adapters.container.engine import Event, Facts, Happening, Plan, Runtime, State, fixed
from duende.adapters.container.http import Answer, UnixHttp
from duende.adapters.container.plan import LABEL_ID
from duende.adapters.container.render import docker_body
from duende.adapters.container.threads import Threads, trouble_of
from duende.errors import (
    InstanceNotFoundError,
    InvalidStateError,
    PlatformIOError,
    PlatformTimeoutError,
    SpawnError,
    StatusFailedError,
)

API = "1.41"
"""The newest API that is spoken: Docker 20.10; Podman 4.3 speaks it too."""
START_FACTOR = 3.0
"""Making and starting may take that many times the deadline of a call: images are unpacked, namespaces made."""
PULL_TIMEOUT = 600.0
"""Seconds for an image to be fetched."""
LOAD_TIMEOUT = 60.0
"""Seconds for the package to be imported, once: that is no call to the runtime."""
EVENT_MAX = 1 << 20
WRONG_STATE = "container state improper"
"""Podman's cause where Docker answers 409 (libpod/define/errors.go, ErrCtrStateInvalid)."""
T = TypeVar("T")


class DockerApi:
    """One Docker-compatible socket."""

    def __init__(self, runtime: Runtime, socket: str, timeout: float) -> None:
        self.runtime = runtime
        self.socket = socket
        self.timeout = timeout
        self._http = UnixHttp(socket, runtime.value, timeout)
        self._facts: Facts | None = None
        self._threads = Threads()
        self._package: Any = None

    async def facts(self) -> Facts:
        """What the runtime says of itself; asked once."""
        if self._facts is None:
            version, info = await self._json("/version"), await self._json("/info")
            facts = parse.facts_of(version, info)
            self._facts = msgspec.structs.replace(facts, api=min(facts.api, API, key=parse.version))
        return self._facts

    async def create(self, plan: Plan, *, pull: bool) -> str:
        """Make the container; see `Engine.create`.

        Raises:
            SpawnError: its image is absent, or the runtime refuses.
            InvalidStateError: its name is taken.
        """
        body = docker_body(plan)
        try:
            return await self._make(plan, body)
        except InstanceNotFoundError as error:
            if not pull:
                raise self._absent(plan) from error
        await self._fetch(plan)
        try:
            return await self._make(plan, body)
        except InstanceNotFoundError as error:
            raise self._absent(plan) from error

    async def _make(self, plan: Plan, body: dict[str, Any]) -> str:
        target = await self._path(f"/containers/create?name={quote(plan.name)}")
        answer = await self._http.request(
            "POST", target, msgspec.json.encode(body), timeout=START_FACTOR * self.timeout
        )
        if answer.code >= 400:
            raise self._refused(answer, "create")
        made = self._object(answer.body).get("Id")
        if answer.code != 201 or not isinstance(made, str):
            raise self._nonsense(answer)
        return made

    def _absent(self, plan: Plan) -> SpawnError:
        return SpawnError(
            f"cannot start {plan.labels.get('duende.daemon.name', plan.name)!r}: {self.runtime.value} has no image {plan.image!r}",
            errno=2,
            step="image",
            path=plan.image,
            remedy=f'{self.runtime.value} pull {plan.image}, or load it, or set platform.container.pull = "missing"',
        )

    async def _fetch(self, plan: Plan) -> None:
        def work(api: Any) -> None:
            name, _, tag = plan.image.partition("@")
            if not tag:
                name, _, tag = (
                    plan.image.rpartition(":")
                    if ":" in plan.image.rsplit("/", 1)[-1]
                    else (plan.image, "", "latest")
                )
            api.pull(name, tag=tag)

        try:
            await self._through(f"pull {plan.image}", work, PULL_TIMEOUT)
        except (PlatformIOError, InstanceNotFoundError, InvalidStateError, SpawnError) as error:
            raise SpawnError(
                f"cannot fetch the image {plan.image!r}: {error}",
                errno=2,
                step="image",
                path=plan.image,
                remedy="check its name and the way to its registry, or load it by hand",
            ) from error

    async def start(self, container: str) -> None:
        """Start it; see `Engine.start`.

        Raises:
            SpawnError: the runtime cannot.
        """
        answer = await self._http.request(
            "POST", await self._path(f"/containers/{container}/start"), timeout=START_FACTOR * self.timeout
        )
        if answer.code >= 400:
            raise SpawnError(_message(answer), step="start")
        if answer.code not in (204, 304):  # 304: it runs already
            raise self._nonsense(answer)

    async def inspect(self, container: str) -> State:
        """Describe it; see `Engine.inspect`."""
        return parse.inspected(await self._inspect(container), f"{self.runtime.value} at {self.socket}")

    async def describe(self, container: str) -> dict[str, Any]:
        """The whole answer; see `Engine.describe`."""
        return self._object(await self._inspect(container))

    async def _inspect(self, container: str) -> bytes:
        return (await self._call("GET", f"/containers/{quote(container, safe='')}/json")).body

    async def kill(self, container: str, number: int) -> None:
        """Send a signal; see `Engine.kill`."""
        await self._command(f"/containers/{container}/kill?signal={number:d}")

    async def pause(self, container: str) -> None:
        """Freeze it; see `Engine.pause`."""
        await self._command(f"/containers/{container}/pause")

    async def unpause(self, container: str) -> None:
        """Thaw it; see `Engine.unpause`."""
        await self._command(f"/containers/{container}/unpause")

    async def update(self, container: str, limits: dict[str, Any]) -> None:
        """Change its limits; see `Engine.update`.

        Raises:
            NotSupportedError: this runtime has no such call.
        """
        target = await self._path(f"/containers/{container}/update")
        try:
            await self._checked("POST", target, msgspec.json.encode(limits))
        except InstanceNotFoundError:
            await self.inspect(
                container
            )  # which says so where it has gone; Podman before 4.4 has no such call
            raise fixed(self.runtime) from None

    async def rename(self, container: str, name: str) -> None:
        """Give it another name; see `Engine.rename`."""
        await self._command(f"/containers/{container}/rename?name={quote(name)}")

    async def remove(self, container: str, *, force: bool = False) -> None:
        """Remove it; see `Engine.remove`.

        Raises:
            InstanceNotFoundError: it is not there.
            InvalidStateError: it runs, and *force* is not set.
            StatusFailedError: the answer is none that is understood.
        """
        if force and self.runtime is Runtime.PODMAN:
            # Podman stops what it is forced to remove, and gives it its whole stop timeout for it.
            try:
                await self.kill(container, signals.SIGKILL)
            except InvalidStateError:
                pass  # it does not run
        target = await self._path(f"/containers/{container}?v=1&force={int(force)}")
        answer = await self._http.request("DELETE", target, timeout=START_FACTOR * self.timeout)
        if answer.code >= 400:
            raise self._refused(answer)
        if answer.code not in (200, 204):  # Podman says what it removed
            raise self._nonsense(answer)

    async def logs(self, container: str, lines: int) -> list[str]:
        """The last lines of output; see `Engine.logs`."""
        target = f"/containers/{container}/logs?stdout=1&stderr=1&tail={lines:d}"
        try:
            raw = (await self._call("GET", target)).body
        except InvalidStateError:
            return []  # its output is not kept (logging.destination = "null")
        return parse.lines_of(raw, f"{self.runtime.value} at {self.socket}")

    async def follow(self, container: str) -> AsyncIterator[str]:
        """Every line of its output; see `Engine.follow`."""
        frames, rest = parse.Demultiplexer(), b""
        target = await self._path(f"/containers/{container}/logs?stdout=1&stderr=1&follow=1")
        async for piece in self._http.stream("GET", target):
            for text in frames.feed(piece):
                *whole, rest = (rest + text).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
        if rest:
            yield rest.decode(errors="replace")

    async def events(self, since: str) -> AsyncIterator[Event]:
        """What happens; see `Engine.events`.

        Raises:
            StatusFailedError: what comes is no event.
            PlatformError: the stream broke.
        """
        wanted = {"type": ["container"]}
        if self.runtime is Runtime.DOCKER:
            wanted["label"] = [
                LABEL_ID
            ]  # Podman 4.3 takes a label without a value for one with an empty value
        filters = msgspec.json.encode(wanted).decode()
        query = {"filters": filters, **({"since": since} if since else {})}
        buffer = b""
        async for piece in self._http.stream("GET", await self._path(f"/events?{urlencode(query)}")):
            if not piece:
                yield Event(what=Happening.CONNECTED)
                continue
            *lines, buffer = (buffer + piece).split(b"\n")
            if len(buffer) > EVENT_MAX:
                raise StatusFailedError(f"an event of more than {EVENT_MAX} bytes")
            for line in lines:
                if line.strip() and (event := parse.event_of(line)) is not None:
                    yield event

    async def run_inside(self, container: str, argv: Sequence[str], timeout: float) -> int:
        """Run a program in it; see `Engine.run_inside`."""

        def work(api: Any) -> int:
            made = api.exec_create(container, list(argv), stdout=True, stderr=True)
            api.exec_start(made["Id"])  # returns at the end of its output
            code = api.exec_inspect(made["Id"]).get("ExitCode")
            return -1 if code is None else int(code)

        try:
            return await self._through("run a program inside", work, timeout)
        except (PlatformTimeoutError, PlatformIOError, InvalidStateError):
            return -1  # it did not end with 0 in time, which is the answer

    async def mine(self) -> list[str]:
        """Ids of all containers with our label.

        Raises:
            StatusFailedError: the runtime did not say.
        """
        filters = quote(msgspec.json.encode({"label": [LABEL_ID]}).decode())
        raw = (await self._call("GET", f"/containers/json?all=1&filters={filters}")).body
        try:
            return [str(each["Id"]) for each in msgspec.json.decode(raw)]
        except (msgspec.MsgspecError, KeyError, TypeError) as error:
            raise StatusFailedError(
                f"cannot read {raw[:120]!r} of {self.runtime.value} at {self.socket} as a list of containers"
            ) from error

    async def close(self) -> None:
        """Let go of connections."""
        self._http.close()
        package, self._package = self._package, None
        if package is not None:
            package.close()

    async def _path(self, target: str) -> str:
        return f"/v{(await self.facts()).api}{target}"

    def _object(self, raw: bytes) -> dict[str, Any]:
        try:
            return msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise StatusFailedError(
                f"cannot understand the answer {raw[:120]!r} of {self.runtime.value} at {self.socket}",
                remedy="check which program listens there",
            ) from error

    async def _json(self, target: str) -> dict[str, Any]:
        return self._object((await self._checked("GET", target)).body)

    async def _call(self, method: str, target: str) -> Answer:
        return await self._checked(method, await self._path(target))

    async def _command(self, target: str) -> None:
        """A call that is answered by 204 and nothing else."""
        answer = await self._checked("POST", await self._path(target))
        if answer.code != 204:
            raise self._nonsense(answer)

    def _refused(self, answer: Answer, step: str = "") -> Exception:
        code = 409 if _cause(answer) == WRONG_STATE else answer.code
        return _refusal(code, f"{self.runtime.value}: {_message(answer)}", step)

    def _nonsense(self, answer: Answer) -> StatusFailedError:
        return StatusFailedError(
            f"cannot understand {self.runtime.value} at {self.socket}: it answered {answer.code} {answer.body[:120]!r}",
            remedy="check which program listens there",
        )

    async def _checked(self, method: str, target: str, body: bytes | None = None) -> Answer:
        answer = await self._http.request(method, target, body)
        if answer.code >= 400:
            raise self._refused(answer)
        if answer.code >= 300:
            raise self._nonsense(answer)
        return answer

    async def _through(self, what: str, work: Callable[[Any], T], timeout: float) -> T:
        """*work* with the package's client, in a thread; its errors in our words."""
        api = (await self.facts()).api
        await self._threads.call("load the docker package", LOAD_TIMEOUT, _load)

        def body() -> T:
            import docker

            if self._package is None:
                self._package = docker.APIClient(
                    base_url=f"unix://{self.socket}", version=api, timeout=START_FACTOR * self.timeout
                )
            try:
                return work(self._package)
            except docker.errors.APIError as error:
                code = error.response.status_code if error.response is not None else 500
                raise _refusal(code, f"{self.runtime.value}: {error.explanation or error}") from error
            except (docker.errors.DockerException, OSError, ValueError) as error:
                # requests' own errors are OSErrors, and what is no JSON is a ValueError
                raise trouble_of(self.runtime.value, self.socket, error) from error

        return await self._threads.call(f"{what} with {self.runtime.value}", timeout, body)


def _load() -> None:
    import docker

    del docker


def _refusal(code: int, text: str, step: str = "") -> Exception:
    if code == 404:
        return InstanceNotFoundError(text)
    if code == 409:
        return InvalidStateError(text)
    return SpawnError(text, step=step) if step else PlatformIOError(text)


def _cause(answer: Answer) -> str:
    try:
        return str(msgspec.json.decode(answer.body).get("cause") or "")
    except (msgspec.MsgspecError, AttributeError):
        return ""


def _message(answer: Answer) -> str:
    try:
        data = msgspec.json.decode(answer.body)
        return str(data.get("message") or data.get("cause") or data)
    except (msgspec.MsgspecError, AttributeError):
        return f"HTTP {answer.code} {answer.body[:200].decode(errors='replace')}".rstrip()


async def answers(socket: str, timeout: float) -> Facts:
    """What answers at *socket*, Docker or Podman.

    Raises:
        PlatformTimeoutError: nothing does in time.
        PlatformError: as `UnixHttp.request` raises.
    """
    engine = DockerApi(Runtime.DOCKER, socket, timeout)
    try:
        async with asyncio.timeout(timeout):
            return await engine.facts()
    except TimeoutError as error:
        raise PlatformTimeoutError(f"reach a container runtime at {socket}", timeout) from error
    finally:
        await engine.close()
