"""A whole fake of Docker's API on a unix socket, with knobs for everything that goes wrong with real ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

ZERO = "0001-01-01T00:00:00Z"


class FakeRuntime:
    """Speaks enough of the API for the adapter; containers have no processes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mode = "normal"
        """normal, garbage, hang, hangup, drip: how every request is answered from now on."""
        self.modes: dict[str, str] = {}
        """The same for requests whose target holds the key."""
        self.images = {"busybox:1"}
        self.start_error = ""
        self.output: list[bytes] = []
        """What every daemon has printed, in pieces."""
        self.containers: dict[str, dict[str, Any]] = {}
        self.removed: list[str] = []
        self.signals: list[tuple[str, int]] = []
        self.component = "Engine"
        self.requests: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self._serial = 0
        self._server: asyncio.AbstractServer | None = None
        self._streams: list[asyncio.StreamWriter] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        """Die: nobody listens and every connection is cut."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()
        self._streams.clear()
        await asyncio.sleep(0)

    def tell(self, container: str, action: str, **attributes: str) -> None:
        """Report an event to whoever listens."""
        self._serial += 1
        event = {
            "Type": "container",
            "Action": action,
            "Actor": {"ID": container, "Attributes": attributes},
            "timeNano": 1_700_000_000_000_000_000 + self._serial,
        }
        data = json.dumps(event).encode() + b"\n"
        for writer in self._streams:
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def die(self, container: str, code: int, *, oom: bool = False, quietly: bool = False) -> None:
        """The container ends."""
        state = self.containers[container]["State"]
        state.update(Status="exited", Running=False, Paused=False, ExitCode=code, OOMKilled=oom)
        state["FinishedAt"] = "2026-01-01T00:00:09Z"
        if not quietly:
            self.tell(container, "die", exitCode=str(code))

    def run(self, container: str) -> None:
        """The container starts (again)."""
        self._serial += 1
        state = self.containers[container]["State"]
        state.update(
            Status="running",
            Running=True,
            Restarting=False,
            StartedAt=f"2026-01-01T00:00:00.{self._serial:09d}Z",
        )
        state["FinishedAt"] = ZERO
        self.tell(container, "start")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._one(reader, writer):
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the other side has had enough
        finally:
            self._open.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n", 1)[0].split(" ")
        length = next(
            (int(line[15:]) for line in head.lower().split("\r\n") if line.startswith("content-length:")), 0
        )
        body = await reader.readexactly(length) if length else b""
        self.requests.append(f"{method} {target}")
        mode = next((mode for part, mode in self.modes.items() if part in target), self.mode)
        if mode == "garbage":
            writer.write(b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\r\n")
            return False
        if mode == "garbage-json":
            return self._answer(writer, 200, b"<html>hello</html>")
        if mode == "hangup":
            return False
        if mode == "drip":
            while True:
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.02)
        if mode in ("hang", "late"):
            if mode == "late":
                self._route(method, target, body)  # it is done, only nobody hears of it
            await asyncio.Event().wait()
        if "/events" in target:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._streams.append(writer)
            await asyncio.Event().wait()
        if "/logs" in target and "follow=1" in target:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for line in self.output:
                frame = b"\x01\0\0\0" + len(line).to_bytes(4, "big") + line
                writer.write(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")
            await asyncio.Event().wait()
        code, answer = self._route(method, target, body)
        return self._answer(writer, code, json.dumps(answer).encode() if answer is not None else b"")

    def _answer(self, writer: asyncio.StreamWriter, code: int, body: bytes) -> bool:
        head = f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\n"
        writer.write(
            (head if code == 204 else f"{head}Content-Length: {len(body)}\r\n").encode() + b"\r\n" + body
        )
        return True

    def _route(self, method: str, target: str, raw: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        words = [word for word in parts.path.split("/") if word and not word.startswith("v1.")]
        if words == ["version"]:
            return 200, {
                "Version": "20.10.24",
                "ApiVersion": "1.41",
                "Components": [{"Name": self.component}],
            }
        if words == ["info"]:
            return 200, {"MemoryLimit": True, "SwapLimit": True, "DockerRootDir": "/nowhere"}
        if words == ["containers", "create"]:
            return self._create(query["name"][0], json.loads(raw))
        found = self._find(words[1])
        if found is None:
            return 404, {"message": f"No such container: {words[1]}"}
        if method == "DELETE":
            self.removed.append(found["Id"])
            del self.containers[found["Id"]]
            return 204, None
        return self._act(found, words[2], query)

    def _create(self, name: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.bodies.append(body)
        if body["Image"] not in self.images:
            return 404, {"message": f"No such image: {body['Image']}"}
        if self._find(name) is not None:
            return 409, {
                "message": f'Conflict. The container name "/{name}" is already in use by container "x".'
            }
        self._serial += 1
        container = f"{self._serial:064x}"
        state = {
            "Status": "created",
            "Running": False,
            "Paused": False,
            "Pid": 0,
            "ExitCode": 0,
            "StartedAt": ZERO,
            "FinishedAt": ZERO,
        }
        self.containers[container] = {
            "Id": container, "Name": f"/{name}", "State": state, "Config": {"Labels": body["Labels"]}, "HostConfig": body["HostConfig"],
        }  # fmt: skip
        return 201, {"Id": container, "Warnings": []}

    def _act(self, found: dict[str, Any], verb: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        container, state = found["Id"], found["State"]
        if verb == "json":
            return 200, found
        if verb == "rename":
            found["Name"] = f"/{query['name'][0]}"
        elif verb == "start":
            if self.start_error:
                return 400, {"message": self.start_error}
            self.run(container)
        elif not state["Running"]:
            return 409, {"message": f"Container {container} is not running"}
        elif verb == "kill":
            number = int(query["signal"][0])
            self.signals.append((container, number))
            if number == 9 or (
                number == 15 and found["Config"]["Labels"].get("duende.daemon.name") != "deaf"
            ):
                self.die(container, 128 + number)
        elif verb in ("pause", "unpause"):
            state.update(Paused=verb == "pause", Status="paused" if verb == "pause" else "running")
            self.tell(container, verb)
        return 204, None

    def _find(self, key: str) -> dict[str, Any] | None:
        return next(
            (each for each in self.containers.values() if key in (each["Id"], each["Name"][1:])), None
        )
