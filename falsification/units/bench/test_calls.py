"""The second table: what calls to platforms cost, beside the aims for them."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.__main__ import CALL_NAMES, chosen_of, main
from bench.calls import CALLS, COLUMNS, Aim, met, ratio, render, report
from bench.peers import PEERS
from bench.platforms import PLATFORMS
from bench.platforms.base import CallError, interleaved, merge, plain
from bench.platforms.docker import DockerCalls
from bench.platforms.systemd import SystemdCalls
from bench.platforms.wire import RawBus, RawHttp

SAMPLES = {
    "duende": {"docker-status": [0.4, 0.6, 0.5], "systemd-start": [5.0]},
    "raw API": {"docker-status": [0.25, 0.2, 0.3], "systemd-start": [4.0]},
    "command": {"docker-status": [20.0]},
}
STATUS = next(call for call in CALLS if call.figure == "docker-status")
START = next(call for call in CALLS if call.figure == "systemd-start")
SIGNAL = next(call for call in CALLS if call.figure == "docker-signal")


def test_aims_are_judged_by_medians() -> None:
    """An aim is at most so many times another column, or so many times faster; without a column nobody can tell."""
    slower, faster = STATUS.aims
    assert ratio(SAMPLES, STATUS, slower) == 2.0
    assert met(SAMPLES, STATUS, slower) is True
    assert ratio(SAMPLES, STATUS, faster) == 1 / 40
    assert met(SAMPLES, STATUS, faster) is True
    assert met(SAMPLES, START, START.aims[0]) is False
    assert met(SAMPLES, SIGNAL, SIGNAL.aims[0]) is None
    assert str(Aim(of="raw API", times=1.15)) == "<= 1.15x raw API"
    assert str(Aim(of="command", times=1 / 8)) == "8x faster than command"


def test_the_table_fits() -> None:
    """A hundred columns are enough; a row has a line for each of its aims, gaps are dashes, and a missed aim says so."""
    text = render(SAMPLES, CALLS)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert len(lines) == 2 + len(STATUS.aims) + len(START.aims)
    assert lines[0].split()[-7:] == ["duende", "raw", "API", "library", "command", "ratio", "aim"]
    assert lines[2].endswith("2.00x  <= 3x raw API")
    assert lines[3].endswith("1/40x  8x faster than command")
    assert lines[4].endswith("1.25x  <= 1.15x raw API: missed")
    assert render({}, CALLS) == ""


def test_the_report_has_every_call() -> None:
    """What was not measured stands there as nothing."""
    told = {str(each["figure"]): each for each in report(SAMPLES)}
    assert set(told) == CALL_NAMES
    assert told["docker-status"]["values"] == {
        "duende": 0.5,
        "raw API": 0.25,
        "library": None,
        "command": 20.0,
    }
    assert told["systemd-signal"]["aims"] == [{"of": "raw API", "times": 2, "ratio": None, "met": None}]


def test_every_call_has_a_platform() -> None:
    """And every platform a call; names of peers, platforms and figures are chosen from."""
    assert {call.platform for call in CALLS} == {kind.name for kind in PLATFORMS}
    assert chosen_of(PLATFORMS, ["systemd"]) == [SystemdCalls]
    assert chosen_of(PLATFORMS, []) == [DockerCalls, SystemdCalls]
    assert [kind.name for kind in chosen_of(PEERS, ["s6"])] == ["s6"]
    assert {aim.of for call in CALLS for aim in call.aims} <= set(COLUMNS)


def test_a_platform_that_is_missing_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its programs its rows are left out with the reason, and when nothing is left that is an error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--figures", "docker-status,systemd-start"]) == 2
    told = capsys.readouterr()
    assert "docker is left out: cannot do without dockerd" in told.out
    assert "systemd is left out: cannot do without dockerd" in told.out
    assert "nothing is left to measure" in told.err


def test_unknown_figures_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message names those there are."""
    assert main(["--figures", "docker-stats"]) == 2
    assert "docker-status" in capsys.readouterr().err


def test_columns_take_turns() -> None:
    """Each begins as often as any other, and the first turn does not count."""
    order: list[str] = []

    def noting(name: str) -> Callable[[], object]:
        return lambda: order.append(name)

    steps = {name: plain(noting(name)) for name in ("a", "b")}
    samples = asyncio.run(interleaved("x", steps, 3))
    assert order == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(values["x"]) for name, values in samples.items()} == {"a": 3, "b": 3}
    merge(samples, {"a": {"x": [1.0], "y": [2.0]}})
    assert len(samples["a"]["x"]) == 4
    assert samples["a"]["y"] == [2.0]


def served(path: Path, answers: list[bytes]) -> threading.Thread:
    """One connection that gives each request the next answer, in pieces."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def serve() -> None:
        with listener:
            end, _ = listener.accept()
        with end:
            for answer in answers:
                end.recv(65536)
                for start in range(0, len(answer), 7):
                    end.sendall(answer[start : start + 7])

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_raw_http_reads_whole_answers(tmp_path: Path) -> None:
    """Bodies with a length, in chunks, and none; another code is an error that shows it."""
    thread = served(
        tmp_path / "s",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        ],
    )
    raw = RawHttp(str(tmp_path / "s"))
    try:
        assert raw.request(RawHttp.text("GET", "/a"), 200) == b"hello"
        assert raw.request(RawHttp.text("POST", "/a", b"{}"), 200) == b"5\r\nhello\r\n0\r\n\r\n"
        assert raw.request(RawHttp.text("POST", "/a"), 204) == b""
        with pytest.raises(CallError, match=r"404.*nope"):
            raw.request(RawHttp.text("GET", "/b"), 200)
    finally:
        raw.close()
        thread.join(10)


def test_raw_bus_tells_answers_from_signals(tmp_path: Path) -> None:
    """Signals in between are passed over, one that is waited for is found, and an error is an error unless it may come."""

    def message(kind: int, body: bytes) -> bytes:
        return bytes([ord("l"), kind, 0, 1]) + len(body).to_bytes(4, "little") + bytes(4) + bytes(4) + body

    thread = served(
        tmp_path / "s",
        [
            b"OK 1234\r\n",
            message(2, b"hello"),  # to Hello
            message(4, b"noise") + message(2, b"answer"),
            message(2, b"job") + message(4, b"other\0done\0") + message(4, b"mine\0done\0"),
            message(3, b"no"),
            message(3, b"no"),
        ],
    )
    raw = RawBus(str(tmp_path / "s"))
    try:
        assert raw.call(b"x") == b"answer"
        assert raw.call(b"x") == b"job"
        assert raw.signal(b"mine\0", b"done\0") == b"mine\0done\0"
        assert raw.call(b"x", errors=True) is None
        with pytest.raises(CallError, match="no"):
            raw.call(b"x")
    finally:
        raw.close()
        thread.join(10)
