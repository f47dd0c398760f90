"""The clients of supervised servers: what they write down is a history, and what they are told is understood."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import msgspec
import pytest

from fixtures import load
from scenarios.checks import Verdict, check, service
from scenarios.history import Kind, pairs
from scenarios.workloads.served import Line, operations


def test_lines_become_operations() -> None:
    """Each completion finds the invoke of its own client; one that was cut off has none."""
    rows = [
        {"p": "a", "k": "invoke", "f": "put", "v": {"value": "a.1"}, "t": 1.0},
        {"p": "b", "k": "invoke", "f": "put", "v": {"value": "b.1"}, "t": 1.1},
        {"p": "b", "k": "info", "f": "put", "v": {"value": "b.1", "error": "TimeoutError"}, "t": 2.1},
        {"p": "a", "k": "ok", "f": "put", "v": {"value": "a.1"}, "t": 2.2},
        {"p": "a", "k": "invoke", "f": "read", "v": {}, "t": 2.3},
    ]
    history = operations([msgspec.convert(row, Line) for row in rows])
    found = [(begun.process, end.kind if end else None) for begun, end in pairs(history)]
    assert found == [("a", Kind.OK), ("b", Kind.INFO), ("a", None)]
    assert check(service.no_acknowledged_write_lost(1), history).verdict is Verdict.UNKNOWN


def _serve(path: Path, answers: list[bytes]) -> threading.Thread:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def work() -> None:
        with server:
            connection, _ = server.accept()
            with connection:
                for answer in answers:
                    connection.recv(4096)
                    connection.sendall(answer)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_what_redis_says(tmp_path: Path) -> None:
    """Numbers, lists and errors of RESP; a server that refuses did nothing, one that hangs up may have."""
    answers = [b":1\r\n", b"*2\r\n$3\r\na.1\r\n$3\r\na.2\r\n", b"-LOADING it is\r\n"]
    thread = _serve(tmp_path / "redis.sock", answers)
    client = load.Redis(str(tmp_path))
    client.put("a.1")
    assert client.read() == ["a.1", "a.2"]
    with pytest.raises(load.RefusedError, match="LOADING"):
        client.put("a.3")
    with pytest.raises(OSError, match=r"hung up|Broken pipe|reset"):
        client.put("a.4")
    client.drop()
    thread.join()
    (tmp_path / "redis.sock").unlink()
    with pytest.raises(load.RefusedError):
        client.put("a.5")


def test_the_log_is_lines(tmp_path: Path) -> None:
    """What is noted is in the file at once."""
    log = load.Log(str(tmp_path))
    log.note("a", "invoke", "put", {"value": "a.1"})
    line = json.loads((tmp_path / "load.jsonl").read_text())
    log.file.close()
    assert (line["p"], line["k"], line["f"], line["v"]) == ("a", "invoke", "put", {"value": "a.1"})
