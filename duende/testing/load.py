"""Puts load on anything that can be awaited, and measures it without coordinated omission.

The schedule is open: the moment of every operation is fixed before the test begins, whatever the system does. Latency counts from that moment,
not from when a late sender got round to sending; so a system that stands still for a second shows that second in every operation that was due
in it, instead of in one (Gil Tene, "How NOT to Measure Latency"). An operation counts towards the rate of its user; a user whose last
operation is still under way sends the next as soon as it is back, and the wait counts. The event loop's timer wakes up to a millisecond late
(epoll_wait(2) counts in milliseconds), which counts as well; `LoadReport.service` is without it.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import time
from collections.abc import Awaitable, Callable
from typing import Self

import msgspec

from duende.errors import ConfigError
from duende.testing.histogram import Histogram, Latencies

Operation = Callable[..., Awaitable[object]]
"""One request: an async callable without parameters, or with (user, number). It fails by raising, or by giving False."""
DEFAULT_TIMEOUT = 10.0
"""Seconds after which an operation is given up and counted as an error."""
PASSING_ERROR_RATE = 0.01
"""The default for `LoadTestConfig.max_error_rate`, the rule of the Rust project."""
KINDS_KEPT = 20
"""Different errors kept with their counts; the rest is counted under "other"."""


class LoadTestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much load, for how long. The profiles have the numbers of the Rust project."""

    users: int = 10
    """How many send side by side."""
    ramp: float = 10.0
    """Seconds over which they begin, evenly: the first at once, the last after `ramp`."""
    duration: float = 60.0
    """Seconds of load after the ramp."""
    target_rps: float | None = None
    """Operations per second of all users together when all have begun. None: each user sends again as soon as the last answer is there, a
    closed loop, in which nothing is ever due and coordinated omission cannot be corrected; the report says which it was."""
    requests_per_user: int | None = None
    """A user ends after that many, even before its time is up."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds for one operation, counted from when it was sent."""
    max_error_rate: float = PASSING_ERROR_RATE
    """The report passes with fewer errors per operation than that, or with none."""

    @classmethod
    def light(cls) -> Self:
        """5 users, 5 s ramp, 30 s, 50 operations per second."""
        return cls(users=5, ramp=5.0, duration=30.0, target_rps=50.0)

    @classmethod
    def moderate(cls) -> Self:
        """50 users, 30 s ramp, 120 s, 500 operations per second."""
        return cls(users=50, ramp=30.0, duration=120.0, target_rps=500.0)

    @classmethod
    def heavy(cls) -> Self:
        """200 users, 60 s ramp, 300 s, 2000 operations per second."""
        return cls(users=200, ramp=60.0, duration=300.0, target_rps=2000.0)

    @classmethod
    def quick(cls) -> Self:
        """4 users, 100 ms ramp, 500 ms, 10 operations each, 80 per second."""
        return cls(users=4, ramp=0.1, duration=0.5, requests_per_user=10, target_rps=80.0)

    @classmethod
    def profile(cls, name: str) -> Self:
        """The profile called *name*.

        Raises:
            ConfigError: there is none.
        """
        if name not in PROFILES:
            raise ConfigError(
                f"no load profile is called {name!r}",
                remedy=f"use one of {', '.join(PROFILES)}",
                key="profile",
            )
        made: Self = getattr(cls, name)()
        return made

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: a number makes no sense; all of them are listed.
        """
        wrong = [
            f"{key} is {value!r}, but must be {what}"
            for key, value, good, what in (
                ("users", self.users, self.users >= 1, "1 or more"),
                ("ramp", self.ramp, 0 <= self.ramp < math.inf, "0 or more"),
                ("duration", self.duration, 0 < self.duration < math.inf, "more than 0"),
                ("timeout", self.timeout, 0 < self.timeout < math.inf, "more than 0"),
                ("max_error_rate", self.max_error_rate, 0 <= self.max_error_rate <= 1, "0 to 1"),
                (
                    "target_rps",
                    self.target_rps,
                    self.target_rps is None or 0 < self.target_rps < math.inf,
                    "more than 0",
                ),
                (
                    "requests_per_user",
                    self.requests_per_user,
                    self.requests_per_user is None or self.requests_per_user >= 1,
                    "1 or more",
                ),
            )
            if not good
        ]
        if wrong:
            raise ConfigError(f"cannot run this load: {'; '.join(wrong)}", problems=tuple(wrong), key="load")


PROFILES = ("light", "moderate", "heavy", "quick")
"""Names that `LoadTestConfig.profile` knows."""


def schedule(config: LoadTestConfig, user: int) -> tuple[float, float, int]:
    """When *user* begins, the pause between its operations, and how many are due, in seconds from the start of the test; pure.

    Without `target_rps` the pause is 0 and the number -1: as many as the time holds.
    """
    begins = user * config.ramp / (config.users - 1) if config.users > 1 else 0.0
    if config.target_rps is None:
        return begins, 0.0, -1 if config.requests_per_user is None else config.requests_per_user
    pause = config.users / config.target_rps
    # Users are spread over one pause, or all of them would send in the same moment after a ramp of 0.
    if config.ramp < pause:
        begins = user * pause / config.users
    due = max(0, math.ceil((config.ramp + config.duration - begins) / pause - 1e-9))
    return begins, pause, due if config.requests_per_user is None else min(due, config.requests_per_user)


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a load test found. Latencies are those of operations that worked, from the moment they were due."""

    users: int
    open_loop: bool
    """Whether there was a schedule: only then the latencies are free of coordinated omission."""
    operations: int
    errors: int
    error_rate: float
    """Errors per operation, 0 without operations."""
    max_error_rate: float
    duration_s: float
    """Seconds from the first moment due to the last answer."""
    throughput: float
    """Operations that worked, per second."""
    target_rps: float | None
    latency: Latencies
    service: Latencies
    """From the moment of sending instead: what a tester with coordinated omission would have told."""
    failed: Latencies
    """Of the operations that did not work."""
    late_sends: int
    """Operations sent more than 10 ms after they were due, because the user's last one was still under way or the tester's machine was busy."""
    error_kinds: dict[str, int]
    """How often each error came."""

    @property
    def passed(self) -> bool:
        """Whether there were operations, and no errors or fewer than `max_error_rate` allows."""
        return self.operations > 0 and (self.errors == 0 or self.error_rate < self.max_error_rate)

    @property
    def success_rate(self) -> float:
        """Operations that worked, per operation; 0 without operations."""
        return 1.0 - self.error_rate if self.operations else 0.0

    def to_json(self) -> str:
        """The report as JSON."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote."""
        return msgspec.json.decode(text, type=cls)

    def table(self) -> str:
        """The report for a terminal."""
        goal = f" of {self.target_rps:g} wanted" if self.target_rps else ""
        rows = [
            f"{self.operations} operations by {self.users} users in {self.duration_s:.2f} s, {self.throughput:.1f}/s{goal}",
            f"{self.errors} errors ({self.error_rate:.2%}), {self.late_sends} sent late",
            f"{'ms':<22}{'p50':>10}{'p95':>10}{'p99':>10}{'max':>10}",
        ]
        name = "from the moment due" if self.open_loop else "closed loop"
        kinds = ((name, self.latency), ("from the sending", self.service), ("failed", self.failed))
        rows += [
            f"{label:<22}{each.p50_ms:>10.2f}{each.p95_ms:>10.2f}{each.p99_ms:>10.2f}{each.max_ms:>10.2f}"
            for label, each in kinds
            if each.count
        ]
        rows += [
            f"  {count} x {kind}"
            for kind, count in sorted(self.error_kinds.items(), key=lambda item: -item[1])
        ]
        return "\n".join(rows)


class LoadTester:
    """Runs an operation under load.

    ```python
    report = await LoadTester(LoadTestConfig.quick(), fetch).run()
    assert report.passed, report.table()
    assert report.latency.p99_ms < 50
    ```
    """

    def __init__(self, config: LoadTestConfig, operation: Operation) -> None:
        config.check()
        self.config = config
        self._operation = operation
        self._numbered = _takes_numbers(operation)
        self._latency = Histogram()
        self._service = Histogram()
        self._failed = Histogram()
        self._late = 0
        self._kinds: dict[str, int] = {}
        self._last = 0.0

    async def run(self) -> LoadReport:
        """Run the whole schedule; ends at most `timeout` after it."""
        self._latency, self._service, self._failed = Histogram(), Histogram(), Histogram()
        self._late, self._kinds = 0, {}
        # All users share one zero a moment ahead, so that making their tasks is not counted as latency.
        zero = self._last = time.perf_counter() + 0.001 * self.config.users / 10
        async with asyncio.TaskGroup() as group:
            for user in range(self.config.users):
                group.create_task(self._user(user, zero))
        return self._report(self._last - zero)

    async def _user(self, user: int, zero: float) -> None:
        begins, pause, due = schedule(self.config, user)
        end = zero + self.config.ramp + self.config.duration
        number = 0
        moment = zero + begins
        while due < 0 or number < due:
            now = time.perf_counter()
            if now < moment:
                await asyncio.sleep(moment - now)
            elif pause:
                await asyncio.sleep(0)  # behind its schedule: others must get their turn all the same
            now = time.perf_counter()
            if now >= end and (pause == 0 or now >= end + self.config.timeout):
                self._missed(0 if pause == 0 else due - number)
                return
            await self._one(user, number, moment if pause else now)
            number += 1
            moment = zero + begins + number * pause if pause else time.perf_counter()

    async def _one(self, user: int, number: int, due: float) -> None:
        sent = time.perf_counter()
        self._late += sent - due > 0.010
        problem = ""
        try:
            async with asyncio.timeout(self.config.timeout):
                work = self._operation(user, number) if self._numbered else self._operation()
                if await work is False:
                    problem = "the operation gave False"
        except TimeoutError:
            problem = f"no answer within {self.config.timeout:g} s"
        except Exception as error:  # noqa: BLE001  (the operation is the tester's: that it raised is the finding)
            problem = f"{type(error).__name__}: {error}"[:200]
        back = self._last = time.perf_counter()
        if problem:
            self._failed.record(back - due)
            self._count(problem, 1)
        else:
            self._latency.record(back - due)
            self._service.record(back - sent)

    def _missed(self, count: int) -> None:
        """Operations that were due and were never sent, because the system was too slow: errors, not silence."""
        if count > 0:
            self._count("due, and not sent before the end", count)

    def _count(self, problem: str, count: int) -> None:
        kind = problem if problem in self._kinds or len(self._kinds) < KINDS_KEPT else "other"
        self._kinds[kind] = self._kinds.get(kind, 0) + count

    def _report(self, took: float) -> LoadReport:
        errors = sum(self._kinds.values())
        operations = self._latency.count + errors
        return LoadReport(
            users=self.config.users,
            open_loop=self.config.target_rps is not None,
            operations=operations,
            errors=errors,
            error_rate=errors / operations if operations else 0.0,
            max_error_rate=self.config.max_error_rate,
            duration_s=took,
            throughput=self._latency.count / took if took > 0 else 0.0,
            target_rps=self.config.target_rps,
            latency=self._latency.summary(),
            service=self._service.summary(),
            failed=self._failed.summary(),
            late_sends=self._late,
            error_kinds=dict(self._kinds),
        )


def _takes_numbers(operation: Operation) -> bool:
    """Whether the operation wants (user, number)."""
    try:
        signature = inspect.signature(operation)
    except ValueError:  # some built-in callables have none: then they are called with nothing
        return False
    try:
        signature.bind()
    except TypeError:
        return True
    return False
