"""Start, exit, status and output."""

from __future__ import annotations

import asyncio

from duende.adapters.contract import EventKind, ProbeState, SupportsLogs
from duende.errors import NotSupportedError, SpawnError
from duende.states import Phase
from duende.testing.conformance.base import ConformanceBase, Events, NonconformanceError, check

AWKWARD = (
    "two words",
    "",
    "quo\"te's",
    "$HOME ${X} $$",
    "%n %% %i",
    "back\\slash",
    "semi; colon",
    "ünï",
    "line\nend",
)
"""Arguments and values that arrive unharmed only where nothing is built by pasting strings."""


class LifecycleTests(ConformanceBase):
    """What runs is what was given, and how it ends is what is told."""

    def test_probe_says_usable(self) -> None:
        """The platform under test is usable and tells its version."""

        async def body() -> None:
            async with self.adapter() as adapter:
                found = await adapter.probe()
                check(found.state is ProbeState.USABLE, f"it is usable: {found}")
                check(found.version and found.why, f"it tells version and reason: {found}")

        self.conduct(body)

    def test_exit_codes_are_told_exactly(self) -> None:
        """Each exit code arrives once, by event, by wait and by status."""

        async def body() -> None:
            async with self.adapter() as adapter:
                events = Events(adapter)
                for code in (0, 1, 7, 143, 255):
                    handle = await self.launch(adapter, self.script(f"sleep 0.3; exit {code}"))
                    seen = await self.ended(adapter, handle)
                    check((seen.code, seen.signal) == (code, None), f"exit {code} is told as {seen}")
                    event = await events.want(handle, EventKind.EXITED, self.within)
                    check(event.exit is not None and event.exit.code == code, f"the event says {event.exit}")
                    status = await adapter.status(handle)
                    wanted = Phase.FAILED if code else Phase.STOPPED
                    check(status.phase is wanted, f"after exit {code} it is {status}")
                    check(len(events.of(handle, EventKind.EXITED)) == 1, "the end is reported once")
                    check((await self.ended(adapter, handle)).code == code, "and told again when asked again")

        self.conduct(body)

    def test_arguments_and_environment_arrive_unharmed(self) -> None:
        """Blanks, quotes, dollars, percents, backslashes and line ends reach the program as they were written."""

        async def body() -> None:
            async with self.adapter() as adapter:
                if not isinstance(adapter, SupportsLogs):
                    return
                given = AWKWARD[:-1]  # one line each, so that the log can be compared
                program = 'for each in "$@"; do printf "<%s>\\n" "$each"; done; printf "[%s]\\n" "$VALUE"; echo over; sleep 60'
                for value in given:
                    config = self.configured(
                        binary_path=self.shell,
                        args=("-c", program, "zero", *given),
                        env={"VALUE": value},
                        description='a\nwith $ and % and "',
                    )
                    handle = await self.launch(adapter, config)
                    lines = await self.logged(adapter, handle, "over")
                    check(
                        lines == [*(f"<{each}>" for each in given), f"[{value}]", "over"], f"it got {lines}"
                    )
                    await adapter.stop(handle, 0.2)

        self.conduct(body)

    def test_line_ends_in_arguments_arrive(self) -> None:
        """An argument of two lines is one argument."""

        async def body() -> None:
            async with self.adapter() as adapter:
                text = '[ "$1" = "$2" ] && exit 40 || exit 41'
                config = self.configured(
                    binary_path=self.shell,
                    args=("-c", f'sleep 0.2; set -- "$1" "one\ntwo"; {text}', "zero", "one\ntwo"),
                )
                seen = await self.ended(adapter, await self.launch(adapter, config))
                check(seen.code == 40, f"the argument arrived whole: {seen}")

        self.conduct(body)

    def test_working_folder_is_entered(self) -> None:
        """The program begins in working_dir."""

        async def body() -> None:
            async with self.adapter() as adapter:
                config = self.script(
                    'sleep 0.2; [ "$(pwd)" = /usr ] && exit 40 || exit 41', working_dir="/usr"
                )
                seen = await self.ended(adapter, await self.launch(adapter, config))
                check(seen.code == 40, f"it began in /usr: {seen}")

        self.conduct(body)

    def test_output_is_kept(self) -> None:
        """Lines of stdout and stderr can be read back, the last ones first chosen."""

        async def body() -> None:
            async with self.adapter() as adapter:
                says = isinstance(adapter, SupportsLogs)
                check(says is adapter.capabilities.logs, "capabilities.logs says what the adapter has")
                if not isinstance(adapter, SupportsLogs):
                    return
                text = (
                    "for n in 1 2 3 4 5; do echo out $n; done; echo err >&2; sleep 0.2; echo last; sleep 60"
                )
                handle = await self.launch(adapter, self.script(text))
                lines = await self.logged(adapter, handle, "last")
                out = [line for line in lines if line.startswith("out")]
                check(out == [f"out {n}" for n in range(1, 6)], f"stdout in order: {lines}")
                check("err" in lines, f"stderr as well: {lines}")
                check((await adapter.logs(handle, 1)) == ["last"], "the last line is the last")
                await adapter.stop(handle, 0.2)

        self.conduct(body)

    def test_tracing_sees_calls_or_is_refused(self) -> None:
        """A tracer sees what the daemon asks of the kernel, and leaves it as it was; a platform without that says so."""

        async def body() -> None:
            async with self.adapter() as adapter:
                handle = await self.launch(adapter, self.script("while :; do kill -0 $$; sleep 0.02; done"))
                if not adapter.capabilities.trace:
                    try:
                        await adapter.attach_tracer(handle)
                    except NotSupportedError:
                        await adapter.stop(handle, 0.2)
                        return
                    raise NonconformanceError("what capabilities.trace denies is refused")
                tracer = await adapter.attach_tracer(handle)
                deadline = asyncio.get_running_loop().time() + self.within
                while not any(each.name == "kill" for each in tracer.report().latencies):
                    check(asyncio.get_running_loop().time() < deadline, "kill(2) of the daemon is seen")
                    await asyncio.sleep(0.05)
                report = await asyncio.to_thread(tracer.detach)
                check(report.calls > 0, "and counted")
                check((await adapter.status(handle)).phase is Phase.RUNNING, "the daemon goes on")
                await adapter.stop(handle, 0.2)

        self.conduct(body)

    def test_last_words_are_kept(self) -> None:
        """What a program prints right before it ends is in its log afterwards."""

        async def body() -> None:
            async with self.adapter() as adapter:
                if not isinstance(adapter, SupportsLogs):
                    return
                handle = await self.launch(adapter, self.script("sleep 0.3; echo good; echo bye; exit 3"))
                await self.ended(adapter, handle)
                await self.logged(adapter, handle, "bye")

        self.conduct(body)

    def test_absent_program_is_one_clear_error(self) -> None:
        """A start that cannot work raises SpawnError with the path, and leaves nothing."""

        async def body() -> None:
            async with self.adapter() as adapter:
                events = Events(adapter)
                config = self.configured(
                    binary_path="/no/such/program",
                )
                try:
                    await self.launch(adapter, config)
                except SpawnError as error:
                    check("/no/such/program" in str(error), f"the error names the program: {error}")
                else:
                    raise NonconformanceError("a program that does not exist was started")
                check(not events.all, f"nothing is reported of what never ran: {events.all}")

        self.conduct(body)

    def test_many_start_side_by_side(self) -> None:
        """Each of several daemons has its own end."""

        async def body() -> None:
            async with self.adapter() as adapter:
                configs = [self.script(f"sleep 0.5; exit {n}") for n in range(5)]
                handles = await asyncio.gather(*(self.launch(adapter, each) for each in configs))
                check(len({each.instance for each in handles}) == 5, "five instances")
                exits = await asyncio.gather(*(self.ended(adapter, each) for each in handles))
                check([each.code for each in exits] == list(range(5)), f"each its own end: {exits}")

        self.conduct(body)

    def test_daemon_class_is_the_very_one(self) -> None:
        """A `Daemon` class runs as itself: ready when it says so, answering the operator's stop with its own shutdown."""

        async def body() -> None:
            if self.daemon_class is None:
                return
            async with self.adapter() as adapter:
                events = Events(adapter)
                config = self.configured(
                    daemon=self.daemon_class,
                )
                handle = await self.launch(adapter, config)
                await events.want(handle, EventKind.READY, self.within)
                await self.phase(adapter, handle, Phase.RUNNING)
                found = await adapter.stop(handle, 10.0)
                check(found.proven and not found.escalated, f"it ends by itself: {found}")
                check(found.exit is not None and found.exit.code == 0, f"gracefully: {found.exit}")

        self.conduct(body)
