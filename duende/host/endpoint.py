"""Health, status and metrics of a running daemon on a unix socket, in HTTP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import time
from collections.abc import Callable

import msgspec

from duende.config.model import DaemonConfig
from duende.config.policy import PolicyConfig
from duende.daemon import Daemon, DaemonContext
from duende.errors import ConfigError, DaemonIOError
from duende.host.http import LARGEST_BODY, LARGEST_REQUEST, OneAnswer, asked_of, headers_of, response
from duende.states import HealthStatus


class Endpoint:
    """Serves GET /health (200, or 503 when unhealthy), /metrics (Prometheus text), /status and /policy (JSON), and PUT /policy (TOML)."""

    def __init__(
        self,
        path: str,
        daemon: Daemon,
        context: DaemonContext,
        config: Callable[[], DaemonConfig],
        apply_policy: Callable[[PolicyConfig], None] | None = None,
    ) -> None:
        self.path = path
        self._daemon = daemon
        self._context = context
        self._config = config
        self._apply_policy = apply_policy
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Listen; a socket nobody listens on any more is replaced.

        Raises:
            DaemonIOError: the path cannot be used, or somebody listens there.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.path)
            except FileNotFoundError:
                pass  # the usual case
            except ConnectionRefusedError as error:
                # Also what connect(2) says of a file that is no socket, and that file is somebody's.
                if not stat.S_ISSOCK(os.lstat(self.path).st_mode):
                    raise self._unusable(
                        FileExistsError(errno.EEXIST, "a file that is no socket is there")
                    ) from error
                os.unlink(self.path)
            except OSError as error:
                raise self._unusable(error) from error
            else:
                raise DaemonIOError(
                    f"cannot listen on {self.path}: somebody does already",
                    errno=errno.EADDRINUSE,
                    path=self.path,
                    remedy="use another --socket",
                )
        try:
            self._server = await asyncio.start_unix_server(
                OneAnswer(self._answer).serve, self.path, limit=LARGEST_REQUEST
            )
        except OSError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._server = None
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass  # removed by somebody else

    def _unusable(self, error: OSError) -> DaemonIOError:
        return DaemonIOError.of(
            "listen on", self.path, error, "use a shorter path in a folder you may write to"
        )

    async def _answer(self, raw: bytes, body: bytes | None) -> bytes:
        method, path = asked_of(raw)
        headers = headers_of(raw)
        if "traceparent" not in headers:
            return await self._found(method, path, body)
        with self._context.spans.span(f"{method.decode()} {path.decode()}", headers=headers):
            return await self._found(method, path, body)

    async def _found(self, method: bytes, path: bytes, body: bytes | None) -> bytes:
        if method == b"PUT" and path == b"/policy" and self._apply_policy is not None:
            return self._put_policy(body, self._apply_policy)
        if not path or method not in (b"GET", b"HEAD"):
            return response(405, "text/plain", b"only GET\n")
        if path == b"/policy":
            return response(200, "application/json", self._policy())
        if path == b"/health":
            found = await self.health()
            return response(200 if found.is_healthy else 503, "application/json", msgspec.json.encode(found))
        if path == b"/metrics":
            text = self._daemon.metrics.prometheus(self._config().name)
            return response(200, "text/plain; version=0.0.4; charset=utf-8", text.encode())
        if path == b"/status":
            config = self._config()
            about = {
                "name": config.name,
                "id": str(self._daemon.id),
                "pid": os.getpid(),
                "version": config.version,
                "stopping": self._context.should_shutdown(),
                "metrics": self._daemon.metrics.snapshot(),
            }
            return response(200, "application/json", msgspec.json.encode(about))
        if path == b"/spans":
            spans = self._context.spans
            told = {"service": spans.service, "dropped": spans.dropped, "spans": list(spans.finished)}
            return response(200, "application/json", msgspec.json.encode(told))
        return response(404, "text/plain", b"known: /health /metrics /status /policy /spans\n")

    def _policy(self) -> bytes:
        used = self._context.policy.state() if self._context.has_policy else {}
        return msgspec.json.encode({"policy": self._config().policy, "in_use": used})

    def _put_policy(self, body: bytes | None, apply: Callable[[PolicyConfig], None]) -> bytes:
        """Put a policy in force; one with a mistake changes nothing."""
        from duende.config.policy import policy_of

        try:
            if body is None:
                raise ConfigError(
                    f"the policy must come with a Content-Length of at most {LARGEST_BODY} bytes"
                )
            policy = policy_of(body.decode(), "policy")
        except (ConfigError, UnicodeDecodeError) as error:
            problem = error.problem if isinstance(error, ConfigError) else f"policy: not UTF-8: {error}"
            self._context.status(f"policy refused: {problem}")
            return response(422, "application/json", msgspec.json.encode({"error": problem}))
        apply(policy)
        self._context.status("policy changed")
        return response(200, "application/json", self._policy())

    async def health(self) -> HealthStatus:
        """Ask the daemon, within the configured timeout; one that raises or is late is unhealthy."""
        began = time.monotonic()
        timeout = self._config().health_check.timeout
        try:
            async with asyncio.timeout(timeout):
                found = await self._daemon.health_check()
        except TimeoutError:
            found = HealthStatus.unhealthy(f"health_check() took longer than {timeout:g} s")
        except Exception as error:  # noqa: BLE001  (the daemon's own code; that it raised is the finding)
            found = HealthStatus.unhealthy(f"health_check() raised {type(error).__name__}: {error}")
        return msgspec.structs.replace(
            found, latency_ms=(time.monotonic() - began) * 1e3, checked_at=time.time()
        )
