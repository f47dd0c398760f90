"""The policy of a running daemon: what a change does to what is in use, over the daemon's own socket."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.config import loads
from duende.config.model import DaemonConfig
from duende.config.policy import PolicyConfig, policy_of
from duende.daemon import Daemon, DaemonContext
from duende.errors import ConfigError, NotFoundError, StateError
from duende.host.lifecycle import Host
from duende.policy.live import LivePolicy
from duende.states import ExitReason

FULL = """
[breaker.db]
failure_threshold = 2
[rate.api]
rate = 10
burst = 20
[queue.jobs]
limit = 3
shed = "drop-oldest"
[retry.db]
attempts = 7
deadline = 3.5
"""


@pytest.mark.parametrize("text", [FULL, FULL.replace("[", "[policy.")])
def test_a_policy_is_read(text: str) -> None:
    """By itself, or as the section of a configuration."""
    live = LivePolicy(policy_of(text))
    assert live.breaker("db").failure_threshold == 2
    assert live.breaker("other").failure_threshold == 5
    assert (live.rate("api").rate, live.rate("api").burst) == (10.0, 20.0)
    assert live.queue("jobs").limit == 3
    assert (live.retry("db").attempts, live.retry("db").deadline, live.retry("x").deadline) == (
        7,
        3.5,
        math.inf,
    )
    assert live.retry("db").budget is live.retry("db").budget
    for kind in (live.rate, live.queue):
        with pytest.raises(NotFoundError, match="known:"):
            kind("nobody")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[breaker.db]\nfailure_treshold = 3", "did you mean 'failure_threshold'"),
        ("[brekaer.db]\nprobes = 3", "did you mean 'breaker'"),
        ("[rate.api]\nburst = 3", "rate"),
        ("[rate.api]\nrate = -1", r"policy\.rate\.api\.rate"),
        ("[rate.api]\nrate = nan", r"policy\.rate\.api\.rate"),
        ("[rate.api]\nrate = 1\nburst = 0", "burst"),
        ("[queue.jobs]\nlimit = 0", r"policy\.queue\.jobs\.limit"),
        ('[queue.jobs]\nlimit = 1\nshed = "all"', "shed"),
        ("[breaker.db]\nprobes = 0", "probes"),
        ("[breaker.db]\nrecovery_timeout = -1", "recovery_timeout"),
        ("[retry.db]\nattempts = 0", "attempts"),
        ("[retry.db]\nmultiplier = 0.5", "multiplier"),
        ("[retry.db]\ndeadline = -1", "deadline"),
        ("[[", "not TOML"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    """One error that names the key, and the nearest known one."""
    with pytest.raises(ConfigError, match=said):
        policy_of(text, "policy.toml")


def test_mistakes_in_a_configuration() -> None:
    """The same is checked where a policy is a section."""
    with pytest.raises(ConfigError, match=r"policy\.rate\.api\.rate"):
        loads('name = "a"\nbinary_path = "/bin/a"\n[policy.rate.api]\nrate = 0\n')


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever comes, it is a policy or one error."""
    try:
        assert isinstance(policy_of(text), PolicyConfig)
    except ConfigError as error:
        assert error.problem


def test_a_change_reaches_what_is_in_use() -> None:
    """Counts and states stay, figures change, and what is gone from the policy keeps its last ones."""
    trips: list[int] = []
    live = LivePolicy(policy_of(FULL), lambda: trips.append(1))
    breaker, rate, queue = live.breaker("db"), live.rate("api"), live.queue("jobs")
    breaker.record_failure()
    queue.offer(1)
    live.apply(policy_of("[breaker.db]\nfailure_threshold = 1\n[queue.jobs]\nlimit = 1\n"))
    assert (live.breaker("db") is breaker, breaker.failure_count, breaker.failure_threshold) == (True, 1, 1)
    assert (queue.limit, len(queue), rate.rate) == (1, 1, 10.0)
    breaker.record_failure()
    assert trips == [1]
    state = live.state()
    assert state["breaker"]["db"] == {"state": "open", "failures": 0, "trips": 1}
    assert (state["queue"]["jobs"]["waiting"], state["rate"]["api"]["admitted"]) == (1, 0)
    with pytest.raises(StateError, match="no host"):
        _ = DaemonContext(DaemonConfig(name="a", binary_path="/a")).policy


class Limited(Daemon):
    """Has a rate limiter."""

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Use it, and wait."""
        ctx.policy.rate("api").try_acquire()
        ctx.policy.breaker("db").record_failure()
        await ctx.wait_shutdown()
        return ExitReason.graceful()


async def ask(path: str, raw: bytes) -> tuple[int, dict[str, Any]]:
    """An answer of the daemon's socket."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(1 << 16), 10)
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def put(text: str, length: int | None = None) -> bytes:
    """A request that replaces the policy."""
    return f"PUT /policy HTTP/1.0\r\nContent-Length: {len(text) if length is None else length}\r\n\r\n{text}".encode()


def test_over_the_socket(tmp_path: Path) -> None:
    """GET shows, PUT replaces, and a mistake changes nothing and is told; the trip of a breaker is counted."""

    async def whole() -> None:
        path = str(tmp_path / "d.sock")
        config = DaemonConfig(name="limited", daemon="x:Limited", policy=policy_of(FULL))
        host = Host.of(Limited, config, socket=path, handle_signals=False)
        running = asyncio.create_task(host.run())
        while not (tmp_path / "d.sock").exists() or not host.context.has_policy:
            await asyncio.sleep(0.005)
        code, shown = await ask(path, b"GET /policy HTTP/1.0\r\n\r\n")
        assert (code, shown["policy"]["rate"]["api"]["rate"], shown["in_use"]["rate"]["api"]["admitted"]) == (
            200,
            10.0,
            1,
        )
        limiter = host.context.policy.rate("api")
        code, shown = await ask(path, put("[rate.api]\nrate = 99\n"))
        assert (code, limiter.rate, host.config.policy.rate["api"].rate) == (200, 99.0, 99.0)
        for wrong in ("[rate.api]\nrat = 1\n", "[rate.api]\nrate = -1\n", "\xff\xfe"):
            code, shown = await ask(path, put(wrong, len(wrong.encode())))
            assert (code, bool(shown["error"]), limiter.rate) == (422, True, 99.0)
        code, shown = await ask(path, put("", 1 << 20))
        assert (code, "Content-Length" in shown["error"]) == (422, True)
        assert (await ask(path, put("[breaker.db]\nfailure_threshold = 1\n")))[0] == 200
        host.context.policy.breaker("db").record_failure()
        assert host.daemon.metrics.snapshot().circuit_breaker_trips == 1
        host.context.request_shutdown()
        await asyncio.wait_for(running, 10)

    asyncio.run(whole())
