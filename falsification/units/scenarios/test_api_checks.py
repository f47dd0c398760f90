"""The checkers of a runtime that misbehaves turn false on bad histories and true on good ones; its proxy does what it says, and proves it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from falsification.units.scenarios.test_checks import Entry, history, op, seen
from fixtures.between import Between, Mood
from fixtures.lease import Reaper
from scenarios.checks import Checker, Verdict, answers, check, identity, latency
from scenarios.faults.api import BadApi
from scenarios.faults.base import NoEffectError
from scenarios.history import Kind

NO_REAPER = cast("Reaper", None)


def fault(at: float, till: float) -> list[Entry]:
    """The nemesis has the API hang from *at* to *till*."""
    said = {"fault": "api-hang"}
    return [
        *op("inject", said, at=at, took=0.0, by="nemesis"),
        *op("heal", said, at=till, took=0.0, by="nemesis"),
    ]


def ping(at: float, took: float = 0.01) -> list[Entry]:
    """A client pings."""
    return op("ping", {}, at=at, took=took)


def refused(message: str) -> list[Entry]:
    """A client is refused."""
    return [("c", Kind.INVOKE, "stop", {}, 1.0), ("c", Kind.FAIL, "stop", {"message": message}, 1.1)]


def instances(name: str, *pids: int) -> Entry:
    """A look from outside."""
    return seen("instances", name=name, pids=list(pids))


WHILE = latency.answers_while("ping", ["api-hang"], q=0.99, seconds=0.1, at_least=2)
TELL = answers.errors_tell()
ONE = identity.at_most_one("a", "b", looks=3)
WHY = "cannot reach docker at /d.sock within 1 s"


@pytest.mark.parametrize(
    ("checker", "entries", "verdict"),
    [
        (WHILE, [*fault(1.0, 2.0), *ping(1.2), *ping(1.5)], Verdict.TRUE),
        (WHILE, [*fault(1.0, 2.0), *ping(1.2), *ping(1.5, 0.4)], Verdict.FALSE),
        (WHILE, [*fault(1.0, 2.0), *ping(0.5, 5.0), *ping(1.5)], Verdict.FALSE),
        (WHILE, [*fault(1.0, 2.0), *ping(1.5), *ping(3.0)], Verdict.UNKNOWN),
        (WHILE, [*fault(1.0, 2.0), *ping(1.5), ("c", Kind.INVOKE, "ping", {}, 1.6)], Verdict.FALSE),
        (TELL, refused(WHY), Verdict.TRUE),
        (TELL, refused(""), Verdict.FALSE),
        (TELL, refused("KeyError('x')"), Verdict.FALSE),
        (TELL, ping(1.0), Verdict.UNKNOWN),
        (ONE, [instances("a", 5), instances("b", 6), instances("a", 5)], Verdict.TRUE),
        (ONE, [instances("a", 5), instances("b", 6), instances("a", 5, 7)], Verdict.FALSE),
        (ONE, [instances("a", 5), instances("a", 5), instances("a", 5), instances("b")], Verdict.UNKNOWN),
        (ONE, [instances("a", 5), instances("b", 6)], Verdict.UNKNOWN),
    ],
)
def test_checkers_of_a_bad_api(checker: Checker, entries: Sequence[Any], verdict: Verdict) -> None:
    """Answers in time while it hangs, errors that tell, and never two of one."""
    found = check(checker, history(*entries))
    assert found.verdict is verdict, found.why


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(100):
        writer.write(piece)
    writer.close()


@pytest.mark.parametrize("mood", [Mood.HANG, Mood.GARBAGE, Mood.SLOW, Mood.RESET])
def test_each_mood_takes_effect_and_is_over(tmp_path: Path, mood: Mood) -> None:
    """A question is answered otherwise while a mood lasts, and as before when it is healed; what was withheld arrives."""

    async def work() -> None:
        server = await asyncio.start_unix_server(_echo, tmp_path / "up")
        async with Between(tmp_path / "up", delay=0.3) as between:
            fault = BadApi(between, mood, b"hello")
            assert await fault.inject(NO_REAPER, 0)
            held = None
            if mood is not Mood.RESET:
                held = await asyncio.open_unix_connection(str(between.socket))
                held[1].write(b"later")
            with pytest.raises(NoEffectError):
                await BadApi(between, mood, b"again").inject(NO_REAPER, 0)
            assert await fault.heal()
            if held is not None and mood is Mood.HANG:
                assert await held[0].read(100) == b"later"
            if held is not None:
                held[1].close()
            reader, writer = await asyncio.open_unix_connection(str(between.socket))
            writer.write(b"hello")
            assert await reader.read(100) == b"hello"
            writer.close()
        assert not between.folder.exists()
        server.close()

    asyncio.run(work())


def test_a_mood_without_effect_is_none(tmp_path: Path) -> None:
    """Nobody behind the proxy: nothing was done to an answer, and so the fault took no effect."""

    async def work() -> None:
        async with Between(tmp_path / "none") as between:
            with pytest.raises(NoEffectError):
                await BadApi(between, Mood.HANG, b"hello").inject(NO_REAPER, 0)

    asyncio.run(work())
