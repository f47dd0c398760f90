"""Parse the command line and call the verb."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from duende.cli import exits, output
from duende.errors import DuendeError, NotFoundError
from duende.manager.paths import default_runtime_dir, default_state_dir


def parser() -> argparse.ArgumentParser:
    """The command's grammar."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--runtime-dir",
        default=default_runtime_dir(),
        help="the manager's sockets and PID files (default: %(default)s)",
    )
    common.add_argument(
        "--state-dir",
        default=default_state_dir(),
        help="the manager's journal and logs (default: %(default)s)",
    )
    common.add_argument("--json", action="store_true", help="print JSON, for programs")
    top = argparse.ArgumentParser(
        prog="duende",
        description="Run, watch and explain daemons.",
        epilog=exits.TABLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version")
    verbs = top.add_subparsers(dest="verb", metavar="COMMAND")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", parents=[common]
        )

    verbs.add_parser(
        "run", help="run one Daemon class in this process: duende run module:Class", add_help=False
    )
    manager = verb("manager", "run the manager in the foreground, with the daemons of a file or folder")
    manager.add_argument("fleet", nargs="?", help="a TOML file, or a folder of them")
    manager.add_argument(
        "--foreground",
        action="store_true",
        help="accepted for service files; the manager never forks away by itself",
    )
    manager.add_argument(
        "--no-keep",
        action="store_true",
        help="stop the daemons if the manager is killed (default: the next manager adopts them)",
    )
    manager.add_argument(
        "--adapter",
        choices=("native", "systemd", "container", "docker", "podman", "containerd"),
        help="where daemons run that do not say platform.adapter themselves (default: native)",
    )
    manager.add_argument(
        "--monitor",
        metavar="INTERVAL",
        help="sample what every daemon uses at that interval, as 5s, and keep a history (default: $DUENDE_MONITOR, or never)",
    )
    manager.add_argument(
        "--metrics-listen",
        metavar="ADDRESS:PORT",
        help="serve /metrics there as well, without authentication (default: $DUENDE_METRICS_LISTEN, or nowhere)",
    )
    manager.add_argument("--notify-fd", type=int, help=argparse.SUPPRESS)
    start = verb(
        "start",
        "start a daemon by name, or those of a TOML file or folder (starting a manager if there is none)",
    )
    start.add_argument("what", help="a daemon's name, or a path")
    for name in ("deploy", "up"):
        deploy = verb(
            name,
            "judge the code of daemons with [quality] enabled, then start what a file says; or stop the line",
        )
        deploy.add_argument("what", metavar="FILE", help="a TOML file, or a folder of them")
        deploy.add_argument(
            "--rehearse",
            type=float,
            metavar="SECONDS",
            help="first run each daemon whose system calls are filtered for so long, and stop where one is missing",
        )
    gate = verb("gate", "judge the code of a file's daemons by their [quality], and do nothing else")
    gate.add_argument("file", metavar="FILE", help="a TOML file, or a folder of them")
    for name, text in (
        ("stop", "stop a daemon and prove that nothing of it is left"),
        ("restart", "stop a daemon if it runs, and start it"),
        ("forget", "make the manager forget a stopped daemon"),
    ):
        verb(name, text).add_argument("name")
    status = verb("status", "say how a daemon is; the exit code says it too")
    status.add_argument("name")
    verb("ps", "list all daemons")
    explain = verb(
        "explain", "say what the platform made of each setting of a running daemon, as read back from it"
    )
    explain.add_argument("name")
    doctor = verb("doctor", "look at every platform: usable here or not, why, and what would help")
    doctor.add_argument(
        "--capabilities", action="store_true", help="print what each adapter promises, side by side"
    )
    signal = verb("signal", "send a signal to a daemon's main process")
    signal.add_argument("signal", help="TERM, sigterm, 15, HUP, STOP, CONT ...")
    signal.add_argument("name")
    logs = verb("logs", "print the end of a daemon's output")
    logs.add_argument("name")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many lines (default: %(default)s)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    events = verb("events", "print what happened, and what happens")
    events.add_argument(
        "-n", "--lines", type=int, default=20, help="how many of the past (default: %(default)s)"
    )
    events.add_argument("-f", "--follow", action="store_true", help="go on as more happens")
    metrics = verb("metrics", "print the metrics of all daemons, or those that a Daemon keeps of itself")
    metrics.add_argument("name", nargs="?", help="one daemon, a Daemon class")
    metrics.add_argument(
        "--openmetrics", action="store_true", help="in OpenMetrics 1.0 instead of Prometheus text 0.0.4"
    )
    past = verb("history", "show what a daemon has used so far, where the manager was started with --monitor")
    past.add_argument("name")
    past.add_argument(
        "--last", default="1h", metavar="TIME", help="how far back, as 10m (default: %(default)s)"
    )
    live = verb("top", "watch daemons live: state, health, restarts, what they use and what they may use")
    live.add_argument(
        "--interval", type=float, default=2.0, help="seconds between two looks (default: %(default)g)"
    )
    live.add_argument("--sort", choices=("name", "cpu", "memory", "restarts"), default="name")
    live.add_argument("--once", action="store_true", help="print it once, for pipes and slow connections")
    trace = verb(
        "trace", "see a daemon's system calls: how long they take, what stands out, where they come from"
    )
    trace.add_argument("name")
    trace.add_argument("--seconds", type=float, default=5.0, help="how long (default: %(default)g)")
    trace.add_argument(
        "--method", choices=("tracefs", "strace"), help="how (default: in the kernel where that is allowed)"
    )
    trace.add_argument(
        "--source",
        action="store_true",
        help="then stop at some calls, for a file and line of each: costs the daemon time",
    )
    trace.add_argument(
        "--pictures", metavar="FOLDER", help="write a heat map and a flame graph there (implies --source)"
    )
    lock = verb("mlock", "say what of a process is locked into memory, and what would become of locking it")
    lock.add_argument("name", nargs="?", help="a daemon (default: this command itself)")
    lock.add_argument("--pid", type=int, help="any process")
    lock.add_argument("--status", action="store_true", help="accepted: it is what the command does")
    blocks = verb("ublk", "list block devices that processes serve, or remove those whose server is gone")
    blocks.add_argument("action", choices=("list", "info", "cleanup"))
    blocks.add_argument("device", nargs="?", type=int, help="the number of a device, for info")
    verb("shutdown", "stop all daemons and end the manager")
    limits = verb("limits", "show what a daemon may use and what it uses, or change its limits while it runs")
    limits.add_argument("name")
    limits.add_argument(
        "limit",
        nargs="*",
        metavar="NAME=VALUE",
        help="memory=256MiB swap=512MiB cpu=50 shares=512 pids=20 read= write= network= disk=",
    )
    policy = verb("policy", "show the policy of a running daemon, or replace it without a restart")
    policy.add_argument("name")
    policy.add_argument(
        "file", nargs="?", help="a TOML file of [breaker.*], [rate.*], [queue.*] and [retry.*]"
    )
    render = verb(
        "render",
        "write a configuration as a unit, an install script, a property list, Compose, Quadlet or Kubernetes",
    )
    render.add_argument("file", help="a TOML file, or a folder of them")
    render.add_argument(
        "--to",
        required=True,
        choices=("install-sh", "systemd", "plist", "quadlet", "compose", "kubernetes"),
        help="what to write",
    )
    render.add_argument("--name", help="one daemon of the file")
    render.add_argument(
        "--output", metavar="FOLDER", help="write files there instead of to the standard output"
    )
    render.add_argument("--python", metavar="PATH", help="the interpreter of Daemon classes on that machine")
    rehearse = verb(
        "rehearse", "run daemons once, and name the system calls that their [security] would end them for"
    )
    rehearse.add_argument("file", metavar="FILE", help="a TOML file, or a folder of them")
    rehearse.add_argument("--name", help="one daemon of the file")
    rehearse.add_argument(
        "--seconds", type=float, default=5.0, help="how long each of them runs (default: %(default)g)"
    )
    validate = verb("validate", "check configuration files and explain every mistake")
    validate.add_argument("files", nargs="+", metavar="FILE")
    return top


def dispatch(argv: Sequence[str], early: tuple[int, int] | None = None) -> int:
    """Run one command; the exit code. *early* is a manager's warden, forked before this module was loaded."""
    grammar = parser()
    try:
        options = grammar.parse_args(argv)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else exits.USAGE
    if options.version:
        import duende

        print(f"duende {duende.__version__}")
        return exits.OK
    if options.verb is None:
        grammar.print_help()
        return exits.USAGE
    from duende.cli import verbs

    options.early = early

    try:
        code: int = getattr(verbs, f"do_{options.verb}")(options)
    except DuendeError as error:
        output.error(error, as_json=options.json)
        return (
            exits.NOT_FOUND
            if isinstance(error, NotFoundError) or getattr(error, "kind", "") == "NotFoundError"
            else exits.FAILED
        )
    except BrokenPipeError:  # `duende logs | head`: the reader has what it wanted
        sys.stderr.close()
        return exits.OK
    except KeyboardInterrupt:
        return 130
    return code
