"""What happened: operations in the order in which they were seen.

An operation begins with `invoke` and ends with `ok` (it happened), `fail` (it did not) or `info` (nobody can
know: it may still take effect). What was only observed, such as an event of the manager, is a single `info`
without an invoke.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec


class Kind(enum.Enum):
    """What an entry says of its operation."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a history."""

    index: int
    process: str
    """Who does it: a client, `nemesis`, `manager`, an observer. One process does one thing at a time."""
    kind: Kind
    f: str
    """What is done: start, stop, inject, event ..."""
    value: Any = None
    """What it is done to or with, and in the end what came of it."""
    time: float = 0.0
    """Monotonic seconds since the history began."""
    of: int | None = None
    """Index of the invoke that this completes; None for an invoke or an observation."""


class HistoryError(Exception):
    """The history is not well formed: the scenario that wrote it is at fault."""


class History:
    """Collects operations. Not thread safe: one event loop writes it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._zero = clock()
        self._open: dict[str, int] = {}
        self.operations: list[Operation] = []

    def now(self) -> float:
        """Seconds since the history began."""
        return self._clock() - self._zero

    def since_start(self, monotonic: float) -> float:
        """A reading of the same monotonic clock as a time of this history."""
        return monotonic - self._zero

    @property
    def zero(self) -> float:
        """The reading of the clock at which the history began."""
        return self._zero

    def absorb(self, operations: Iterable[Operation], zero: float) -> None:
        """Append a history that another process kept by the same monotonic clock, begun at *zero*."""
        base, shift = len(self.operations), zero - self._zero
        for operation in operations:
            self.operations.append(
                msgspec.structs.replace(
                    operation,
                    index=operation.index + base,
                    time=operation.time + shift,
                    of=None if operation.of is None else operation.of + base,
                )
            )

    def invoke(self, process: str, f: str, value: Any = None) -> Operation:
        """Something begins.

        Raises:
            HistoryError: that process has not finished what it did before.
        """
        if process in self._open:
            before = self.operations[self._open[process]]
            raise HistoryError(f"{process} cannot invoke {f}: its {before.f} is still open")
        operation = self._add(process, Kind.INVOKE, f, value, None)
        self._open[process] = operation.index
        return operation

    def ok(self, begun: Operation, value: Any = None) -> Operation:
        """It happened."""
        return self._complete(begun, Kind.OK, value)

    def fail(self, begun: Operation, value: Any = None) -> Operation:
        """It did not happen, for certain."""
        return self._complete(begun, Kind.FAIL, value)

    def info(self, begun: Operation, value: Any = None) -> Operation:
        """Nobody can know whether it happened or still will."""
        return self._complete(begun, Kind.INFO, value)

    def observe(self, process: str, f: str, value: Any = None) -> Operation:
        """Something was seen that nobody asked for."""
        return self._add(process, Kind.INFO, f, value, None)

    def _complete(self, begun: Operation, kind: Kind, value: Any) -> Operation:
        if self._open.get(begun.process) != begun.index:
            raise HistoryError(f"{begun.process} has no open {begun.f} to complete")
        del self._open[begun.process]
        return self._add(begun.process, kind, begun.f, value, begun.index)

    def _add(self, process: str, kind: Kind, f: str, value: Any, of: int | None) -> Operation:
        operation = Operation(
            index=len(self.operations), process=process, kind=kind, f=f, value=value, time=self.now(), of=of
        )
        self.operations.append(operation)
        return operation

    def write(self, path: Path) -> None:
        """Write it as JSON lines."""
        write(path, self.operations)


def write(path: Path, operations: Iterable[Operation]) -> None:
    """Write a history as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.Encoder().encode_lines(operations))


def read(path: Path) -> list[Operation]:
    """Read what `History.write` wrote.

    Raises:
        HistoryError: it is something else.
    """
    try:
        return msgspec.json.Decoder(Operation).decode_lines(path.read_bytes())
    except msgspec.MsgspecError as error:
        raise HistoryError(f"cannot read {path}: {error}") from error


def pairs(history: Iterable[Operation]) -> Iterator[tuple[Operation, Operation | None]]:
    """Each invoke with its completion, None where there is none, in the order of the invokes."""
    operations = list(history)
    ends = {operation.of: operation for operation in operations if operation.of is not None}
    for operation in operations:
        if operation.kind is Kind.INVOKE:
            yield operation, ends.get(operation.index)


def observed(history: Iterable[Operation], f: str, **fields: object) -> list[Operation]:
    """The observations of *f* whose value has those *fields*."""
    found = []
    for operation in history:
        if operation.f != f or operation.of is not None or operation.kind is Kind.INVOKE:
            continue
        value = operation.value if isinstance(operation.value, dict) else {}
        if all(value.get(name) == wanted for name, wanted in fields.items()):
            found.append(operation)
    return found
