"""One connection to the message bus that systemd listens on: calls with deadlines, signals, and coming back after a loss.

D-Bus specification 0.42 for the messages, org.freedesktop.systemd1(5) for what is sent in them.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import Any

from dbus_fast import DBusFastError, Message, MessageType
from dbus_fast.aio import MessageBus

from duende.errors import AccessError, DuendeError, PlatformIOError, PlatformTimeoutError

SYSTEMD = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = f"{SYSTEMD}.Manager"
UNIT = f"{SYSTEMD}.Unit"
SERVICE = f"{SYSTEMD}.Service"
PROPERTIES = "org.freedesktop.DBus.Properties"
DBUS = "org.freedesktop.DBus"
DBUS_PATH = "/org/freedesktop/DBus"
UNIT_PATH = f"{MANAGER_PATH}/unit"
UNITS_RULE = f"type='signal',sender='{SYSTEMD}',path_namespace='{UNIT_PATH}',interface='{PROPERTIES}'"
"""What systemd reports of units. One rule, however many units: a bus allows a connection some hundred."""
MANAGER_RULES = tuple(
    f"type='signal',sender='{SYSTEMD}',path='{MANAGER_PATH}',interface='{MANAGER}',member='{member}'"
    for member in ("JobRemoved", "UnitRemoved", "Reloading")
)
"""What it reports of itself, but not what nobody here needs: each signal wakes this process, and a start sends twenty."""
OWNER_RULE = f"type='signal',sender='{DBUS}',path='{DBUS_PATH}',member='NameOwnerChanged',arg0='{SYSTEMD}'"
"""systemd left the bus or came (back) to it: it was re-executed, or the bus was restarted."""
SYSTEM_ADDRESS = "unix:path=/run/dbus/system_bus_socket"
_log = logging.getLogger(__name__)


class Refusal(Exception):  # noqa: N818  (an answer of the protocol, turned into one of our errors by the verb that asked)
    """systemd or the bus answered with an error. `name` is its D-Bus name, `text` its sentence."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text

    @property
    def short(self) -> str:
        """The last part of the name: NoSuchUnit, AccessDenied, ..."""
        return self.name.rpartition(".")[2]


def address_of(*, user: bool) -> str:
    """The address of the system's bus, or of this user's, from the environment or where systemd puts it (file-hierarchy(7))."""
    if not user:
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_ADDRESS
    own = os.environ.get("DBUS_SESSION_BUS_ADDRESS")
    if own:
        return own
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return f"unix:path={runtime}/bus"


class Bus:
    """A connection that is made when it is first needed and made again when it was lost."""

    def __init__(self, address: str, *, user: bool, timeout: float) -> None:
        self.address = address
        self.user = user
        self.timeout = timeout
        """Seconds for each call, and for connecting."""
        self.generation = 0
        """Counts connections: what belongs to an earlier one has ended with it."""
        self.local = False
        """Whether process numbers of the bus are those of this process: one pid namespace."""
        self.on_signal: Callable[[Message], None] = _ignore
        self.on_lost: Callable[[], None] = _nothing
        """The connection broke; not called when it was closed from here."""
        self._bus: MessageBus | None = None
        self._connecting: asyncio.Task[MessageBus] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a call would go out at once."""
        return self._bus is not None and self._bus.connected

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        to: str = SYSTEMD,
        timeout: float | None = None,
        fds: list[int] | None = None,
    ) -> list[Any]:
        """Call a method; the values of its answer. Values of type `h` are places in *fds*.

        Raises:
            Refusal: the answer is an error.
            PlatformTimeoutError: no answer came in time.
            PlatformIOError: there is no connection, or it broke.
            AccessError: the bus does not let this user in.
        """
        bus = self._bus
        if bus is None or not bus.connected:
            bus = await self.connect()
        return await self._call(
            bus, path, interface, member, signature, body, to=to, timeout=timeout, fds=fds
        )

    async def connect(self) -> MessageBus:
        """The connection, made when there is none; raises as `call` does."""
        if self._bus is not None and self._bus.connected:
            return self._bus
        if self._connecting is None or self._connecting.done():
            self._closed = False
            self._connecting = asyncio.create_task(self._open())
        return await asyncio.shield(self._connecting)

    def close(self) -> None:
        """Let go of the connection; `connect` makes another."""
        self._closed = True
        if self._connecting is not None and not self._connecting.done():
            self._connecting.cancel()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()

    async def _call(
        self,
        bus: MessageBus,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        to: str = SYSTEMD,
        timeout: float | None = None,
        fds: list[int] | None = None,
    ) -> list[Any]:
        seconds = self.timeout if timeout is None else timeout
        message = Message(
            destination=to,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body or [],
            unix_fds=fds or [],
        )
        try:
            async with asyncio.timeout(seconds):
                answer = await bus.call(message)
        except TimeoutError:
            raise PlatformTimeoutError(f"get an answer of systemd to {member}", seconds) from None
        except (OSError, EOFError, DBusFastError) as error:
            raise PlatformIOError(
                f"cannot call {member} of systemd: the connection to {self.address} broke: {str(error) or type(error).__name__}",
                remedy="check that dbus runs, then retry",
            ) from error
        if answer is None:
            raise PlatformIOError(f"cannot call {member} of systemd: the connection was closed")
        if answer.message_type is MessageType.ERROR:
            text = answer.body[0] if answer.body and isinstance(answer.body[0], str) else ""
            raise Refusal(answer.error_name or "", text)
        return list(answer.body)

    async def _open(self) -> MessageBus:
        old, self._bus = self._bus, None
        if old is not None:
            old.disconnect()
        bus = await self._dial()
        bus.add_message_handler(self._on_message)
        try:
            for rule in (UNITS_RULE, *MANAGER_RULES, OWNER_RULE):
                await self._call(bus, DBUS_PATH, DBUS, "AddMatch", "s", [rule], to=DBUS)
            self.local = await self._is_local(bus)
            await self.announce(bus)
        except Refusal as refusal:
            bus.disconnect()
            raise self.error_of(refusal) from refusal
        except BaseException:
            bus.disconnect()
            raise
        self._bus = bus
        self.generation += 1
        self._watch = asyncio.create_task(self._watch_end(bus))
        return bus

    async def _dial(self) -> MessageBus:
        try:
            async with asyncio.timeout(self.timeout):
                # Descriptors travel along for output that goes to this process's own (LogDestination.INHERIT).
                return await MessageBus(bus_address=self.address, negotiate_unix_fd=True).connect()
        except TimeoutError:
            raise PlatformTimeoutError(
                f"connect to the message bus at {self.address}", self.timeout
            ) from None
        except PermissionError as error:
            raise AccessError(
                f"cannot connect to the message bus at {self.address}: {error.strerror}",
                remedy="run as root, or use the user's own systemd (user=True)",
            ) from error
        except (OSError, EOFError) as error:
            raise PlatformIOError(
                f"cannot connect to the message bus at {self.address}: {getattr(error, 'strerror', None) or 'it hung up'}",
                remedy=self._remedy(),
            ) from error
        except DBusFastError as error:
            raise PlatformIOError(
                f"cannot speak D-Bus at {self.address}: {error}",
                remedy="check the address, and that a D-Bus daemon listens there",
            ) from error

    def _remedy(self) -> str:
        if self.user:
            return "log in once, or run: loginctl enable-linger USER; and install dbus-user-session"
        return "start it: systemctl start dbus.socket; without systemd use the native adapter"

    async def announce(self, bus: MessageBus | None = None) -> None:
        """Ask systemd for its signals; again after it was re-executed. Raises as `call` does."""
        chosen = bus or await self.connect()
        await self._call(chosen, MANAGER_PATH, MANAGER, "Subscribe")

    async def _is_local(self, bus: MessageBus) -> bool:
        # The daemon of the bus reads our number from the socket (SO_PEERCRED), as seen in its own pid namespace.
        try:
            (pid,) = await self._call(
                bus, DBUS_PATH, DBUS, "GetConnectionUnixProcessID", "s", [bus.unique_name], to=DBUS
            )
        except Refusal:
            return False  # we have no number there
        return bool(pid == os.getpid())

    async def _watch_end(self, bus: MessageBus) -> None:
        try:
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  (whatever ended the connection, it is lost)
            _log.debug("connection to %s lost: %s", self.address, error)
        if self._bus is bus and not self._closed:
            self._bus = None
            self.on_lost()

    def _on_message(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self.on_signal(message)

    def error_of(self, refusal: Refusal) -> DuendeError:
        """The error of ours for an answer that does not depend on the verb: rights, and a systemd that is not there."""
        short = refusal.short
        if short in ("AccessDenied", "InteractiveAuthorizationRequired", "AuthFailed"):
            return AccessError(
                f"systemd refused: {refusal.text or refusal.name}",
                remedy="run as root, allow it by polkit, or use the user's own systemd (user=True)",
            )
        if short in ("ServiceUnknown", "NameHasNoOwner", "Disconnected") or short.startswith("Spawn."):
            return PlatformIOError(
                f"systemd is not on the bus at {self.address}: {refusal.text}", remedy=self._remedy()
            )
        if short in ("NoReply", "Timeout", "TimedOut"):
            return PlatformTimeoutError("get an answer of systemd", self.timeout)
        return PlatformIOError(f"systemd refused: {refusal}")


def _ignore(message: Message) -> None:
    """Before somebody listens, nothing is missed: there is no unit yet."""


def _nothing() -> None:
    """Before somebody listens, a lost connection concerns nobody."""
