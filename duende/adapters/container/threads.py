"""Synchronous calls of the `docker` package beside the loop: few at a time, each with a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from duende.errors import AccessError, PlatformIOError, PlatformTimeoutError

AT_ONCE = 8
"""Threads; a runtime that hangs holds that many at most, and further calls end at their deadline without a thread."""
T = TypeVar("T")


class Threads:
    """A bounded number of daemon threads: unlike those of an executor, none that hangs keeps the program from ending."""

    def __init__(self, limit: int = AT_ONCE) -> None:
        self._free = asyncio.Semaphore(limit)

    async def call(self, what: str, timeout: float, work: Callable[[], T]) -> T:
        """The result of *work*, within *timeout* seconds, the wait for a thread included; *what* is for the error.

        Raises:
            PlatformTimeoutError: it takes longer; the thread goes on until the package's own deadline ends it.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                await self._free.acquire()
                future: asyncio.Future[T] = loop.create_future()
                threading.Thread(
                    target=self._body, args=(loop, future, work), name="duende-docker", daemon=True
                ).start()
                return await future
        except TimeoutError as error:
            raise PlatformTimeoutError(what, timeout) from error

    def _body(
        self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], work: Callable[[], T]
    ) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  (it is handed to whoever asked)
            failure = error
        try:
            loop.call_soon_threadsafe(self._deliver, future, result, failure)
        except RuntimeError:
            return  # the loop was closed meanwhile: nobody waits

    def _deliver(self, future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
        self._free.release()
        if future.done():
            return
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)


def trouble_of(
    runtime: str, socket: str, error: Exception
) -> PlatformIOError | PlatformTimeoutError | AccessError:
    """What an error of the package that is none of the runtime means."""
    if "imed out" in str(error):
        return PlatformTimeoutError(f"get an answer from {runtime} at {socket}", 0.0)
    if "PermissionError" in repr(error) or isinstance(error, PermissionError):
        return AccessError(
            f"cannot reach {runtime}: {socket} may not be opened by this user",
            remedy="add the user to the socket's group, or use a rootless runtime",
        )
    return PlatformIOError(
        f"cannot talk to {runtime} at {socket}: {error}", remedy=f"check that {runtime} runs there"
    )
