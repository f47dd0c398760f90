"""Signals by name, with the numbers each platform uses for them.

Numbers: signal(7) for Linux (the generic ABI, x86 and Arm), <sys/signal.h> for macOS. WOS and pepita use Linux numbers.
"""

from __future__ import annotations

import enum
import sys

from duende.errors import SignalError


class Signal(enum.Enum):
    """The nine signals a daemon is told apart by; the value is the short name."""

    HUP = "HUP"
    INT = "INT"
    QUIT = "QUIT"
    KILL = "KILL"
    USR1 = "USR1"
    USR2 = "USR2"
    TERM = "TERM"
    CONT = "CONT"
    STOP = "STOP"

    @property
    def is_shutdown(self) -> bool:
        """Whether this signal asks a daemon to end: TERM, INT and QUIT."""
        return self in _SHUTDOWN

    def number(self, platform: str = sys.platform) -> int:
        """The signal's number on *platform* (a `sys.platform` value; anything but darwin counts as Linux)."""
        return (_DARWIN if platform == "darwin" else _LINUX)[self.value]

    @classmethod
    def from_number(cls, number: int, platform: str = sys.platform) -> Signal | None:
        """The signal with that *number*, or None: SIGSEGV and the like end daemons but are not sent by operators."""
        table = _DARWIN if platform == "darwin" else _LINUX
        for name, value in table.items():
            if value == number:
                return cls(name)
        return None

    @classmethod
    def parse(cls, text: str) -> Signal:
        """Read `TERM`, `sigterm` or `15`.

        Raises:
            SignalError: the text names no signal of this list.
        """
        word = text.strip().upper()
        if word.isdecimal():
            found = cls.from_number(int(word))
            if found is not None:
                return found
        try:
            return cls(word.removeprefix("SIG"))
        except ValueError:
            known = ", ".join(member.value for member in cls)
            raise SignalError(
                f"cannot read {text!r} as a signal", remedy=f"use one of {known}, with or without SIG"
            ) from None


_SHUTDOWN = frozenset((Signal.TERM, Signal.INT, Signal.QUIT))
_LINUX = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "KILL": 9,
    "USR1": 10,
    "USR2": 12,
    "TERM": 15,
    "CONT": 18,
    "STOP": 19,
}
_DARWIN = {
    "HUP": 1,
    "INT": 2,
    "QUIT": 3,
    "KILL": 9,
    "TERM": 15,
    "STOP": 17,
    "CONT": 19,
    "USR1": 30,
    "USR2": 31,
}


def signal_name(number: int) -> str:
    """The name of any signal *number* of this system, `SIGSEGV` for 11; `signal 65` where it has none."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
