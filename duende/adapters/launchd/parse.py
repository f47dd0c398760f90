"""From what launchctl prints to values: pure.

launchctl(1) calls its output "NOT API in any sense at all", so it is read with care: only lines of the outermost block count, and of those
only what cannot be somebody's argument or environment. Those two are printed as they are, line ends and all; the first lines of a job, and
everything from its last `runs =` on, are launchd's own words. What cannot be read is an error, never "does not run".

Forms: captures of macOS 10.10 and 26 in fixtures/captures, and the format strings of launchd 26. `state` is one of not running, spawn
scheduled, spawning, xpcproxy, running, SIGTERMed, SIGKILLed, languishing, exited, and waiting in older releases. A signal takes the place of
the exit code; codes 64 to 78 carry their name of <sysexits.h>.
"""

from __future__ import annotations

import enum
import re

import msgspec

from duende.adapters.launchd.darwin import host_number
from duende.adapters.launchd.render import INFINITY
from duende.errors import StatusFailedError
from duende.states import DaemonStatus, Phase, ProcessExit

RUNNING = frozenset({"running"})
STARTING = frozenset({"spawning", "xpcproxy", "spawn scheduled"})
STOPPING = frozenset({"SIGTERMed", "SIGKILLed", "languishing"})
ENDED = frozenset({"not running", "exited", "waiting"})
CANNOT_SPAWN = 78
"""EX_CONFIG: the exit code launchd itself gives to a job whose program it could not run."""
_NUMBER = re.compile(r"-?\d+")
_ERROR = re.compile(r"(?:failed|[Cc]ould not [^:\n]*): (\d+)\b")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What launchd says of one job."""

    state: str
    pid: int = 0
    """Its process, 0 while it has none."""
    runs: int = 0
    """How often it was started."""
    code: int | None = None
    """Exit code of the run before the present one."""
    signal: int | None = None
    """The signal that ended it, as this system numbers it."""
    reason: str = ""
    """The words of launchd where it knows neither: never exited, abandoned, a reason of the kernel."""
    spawn_failed: bool = False
    """launchd could not run the program."""
    settings: dict[str, str] = {}
    """Lines `name = value` between the environment and `runs`: domain, username, group, umask, minimum runtime, exit timeout."""
    later: dict[str, str] = {}
    """Lines `name = value` after `runs`."""
    limits: dict[str, int] = {}
    """`maxfiles (soft)` -> number, from `resource limits`."""
    properties: frozenset[str] = frozenset()
    lines: frozenset[str] = frozenset()
    """Everything printed, line by line: only to look for what is known."""

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.pid > 0


def parse_job(text: str) -> Job:
    """Read `launchctl print DOMAIN/LABEL`.

    Raises:
        StatusFailedError: it is something else.
    """
    lines = text.split("\n")
    last_runs = max((at for at, line in enumerate(lines) if _is_own(line, "runs")), default=-1)
    last_domain = max((at for at, line in enumerate(lines[:last_runs]) if _is_own(line, "domain")), default=0)
    state = next((_value(line) for line in lines if _is_own(line, "state")), "")
    if not state or last_runs < 0:
        raise StatusFailedError(
            f"cannot read what launchctl printed: {text[:200]!r}", remedy="please report it"
        )
    settings = _pairs(lines[last_domain:last_runs])
    later = _pairs(lines[last_runs:])
    code, signal, reason = _exit(later)
    return Job(
        state=state,
        pid=_int(later.get("pid", "0")) if state not in ENDED else 0,
        runs=_int(later.get("runs", "0")),
        code=code,
        signal=signal,
        reason=reason,
        spawn_failed=later.get("job state") == "spawn failed",
        settings=settings,
        later=later,
        limits=_limits(lines[last_runs:]),
        properties=frozenset(part.strip() for part in later.get("properties", "").split("|") if part.strip()),
        lines=frozenset(lines),
    )


def _is_own(line: str, name: str) -> bool:
    return line.startswith(f"\t{name} = ")


def _value(line: str) -> str:
    return line.partition(" = ")[2].strip()


def _pairs(lines: list[str]) -> dict[str, str]:
    own = (line for line in lines if line.startswith("\t") and not line.startswith("\t\t"))
    return {line.partition(" = ")[0].strip(): _value(line) for line in own if " = " in line}


def _int(text: str) -> int:
    found = _NUMBER.match(text)
    if found is None:
        raise StatusFailedError(f"cannot read {text!r}, printed by launchctl, as a number")
    return int(found.group())


def _exit(later: dict[str, str]) -> tuple[int | None, int | None, str]:
    by_signal = later.get("last terminating signal")
    if by_signal is not None:
        # strsignal(3) of macOS: "Killed: 9".
        number = by_signal.rpartition(":")[2].strip()
        return (None, host_number(int(number)), "") if number.isdecimal() else (None, None, by_signal)
    word = later.get("last exit code", later.get("last exit reason", ""))
    if "last exit code" in later and _NUMBER.match(word):
        return _int(word), None, ""
    return None, None, word.strip("()")


def _limits(lines: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    inside = False
    for line in lines:
        if line == "\tresource limits = {":
            inside = True
        elif inside and line == "\t}":
            break
        elif inside and " => " in line:
            name, _, value = line.partition(" => ")
            found[name.strip()] = INFINITY if value.strip() == "(infinity)" else _int(value.strip())
    return found


def parse_disabled(text: str) -> dict[str, bool]:
    """Read `launchctl print-disabled DOMAIN`: label -> disabled. Older releases say true and false for disabled and enabled.

    Raises:
        StatusFailedError: it is something else.
    """
    if "disabled services = {" not in text:
        raise StatusFailedError(f"cannot read what launchctl printed: {text[:200]!r}")
    pairs = re.findall(r'^\s*"(.*)" => (disabled|enabled|true|false)$', text, re.MULTILINE)
    return {label: word in ("disabled", "true") for label, word in pairs}


def parse_services(text: str) -> dict[str, int]:
    """Labels and pids (0 for none) in `launchctl print DOMAIN`."""
    found: dict[str, int] = {}
    inside = False
    for line in text.splitlines():
        if line == "\tservices = {":
            inside = True
        elif inside and line == "\t}":
            break
        elif inside and len(words := line.split(None, 2)) == 3 and words[0].isdecimal():
            found[words[2].strip()] = int(words[0])
    return found


def process_exit(job: Job, at: float) -> ProcessExit:
    """How the run before the present one ended, as launchd says."""
    return ProcessExit(code=job.code, signal=job.signal, at=at)


def status_of(job: Job, *, paused: bool = False) -> DaemonStatus:
    """The status of a job that nobody here saw end.

    Raises:
        StatusFailedError: launchd says a state that this version does not know.
    """
    if job.state not in RUNNING | STARTING | STOPPING | ENDED:
        raise StatusFailedError(
            f"cannot tell what launchd means by the state {job.state!r}", remedy="please report it"
        )
    if job.state in STOPPING:
        return DaemonStatus(Phase.STOPPING)
    if job.alive:
        starting = job.state in STARTING
        return DaemonStatus(Phase.STARTING if starting else Phase.PAUSED if paused else Phase.RUNNING)
    if job.state in STARTING:
        return DaemonStatus(Phase.STARTING)
    seen = process_exit(job, 0.0)
    return DaemonStatus.failed(seen.failure()) if seen.known and not seen.ok else DaemonStatus(Phase.STOPPED)


class Trouble(enum.Enum):
    """Why launchctl refused; the value is what to say of it."""

    NO_SERVICE = "launchd has no such job"
    NO_PROCESS = "it has no process"
    NO_DOMAIN = "launchd has no such domain"
    IN_PROGRESS = "it is under way"
    LOADED = "a job of that label is loaded"
    DISABLED = "the job is disabled"
    DENIED = "this user may not do that"
    REFUSED = "launchd refuses it"


_BY_NUMBER = {
    1: Trouble.DENIED,
    3: Trouble.NO_SERVICE,
    5: Trouble.LOADED,
    13: Trouble.DENIED,
    17: Trouble.LOADED,
    36: Trouble.IN_PROGRESS,
    37: Trouble.LOADED,
    112: Trouble.NO_DOMAIN,
    113: Trouble.NO_SERVICE,
    119: Trouble.DISABLED,
    125: Trouble.NO_DOMAIN,
    150: Trouble.DENIED,
}
"""`launchctl error N`. 5 stands for much, of which a second bootstrap is the most usual; 36 and 37 are EINPROGRESS and EALREADY of macOS."""


def trouble_of(code: int, text: str) -> Trouble:
    """What went wrong, from exit code and error text; the number in the text counts where there is one (older releases exit with 1)."""
    if "No process to signal" in text:
        return Trouble.NO_PROCESS
    if "Could not find service" in text or "Could not find specified service" in text:
        return Trouble.NO_SERVICE
    if "Could not find domain" in text:
        return Trouble.NO_DOMAIN
    found = _ERROR.search(text)
    number = int(found.group(1)) if found is not None else code
    return _BY_NUMBER.get(number, Trouble.REFUSED)
