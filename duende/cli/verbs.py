"""The verbs of the command, one function each: `do_<verb>(options) -> exit code`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from duende.cli import exits, output
from duende.errors import ConfigError, DaemonIOError, NotFoundError
from duende.manager.client import ManagerClient

STOP_PATIENCE = 600.0
"""Seconds the command waits for a stop: a daemon's own shutdown_timeout decides, this only bounds a manager that hangs."""


def _client(options: argparse.Namespace, timeout: float = 60.0) -> ManagerClient:
    return ManagerClient(options.runtime_dir, timeout=timeout)


def _show(options: argparse.Namespace, result: Any, plain: Any) -> int:
    if options.json:
        output.json({"ok": True, "result": result})
    else:
        plain(result)
    return exits.OK


def do_manager(options: argparse.Namespace) -> int:
    """Run the manager in this process."""
    from duende.manager.service import Options, serve

    chosen = Options(
        options.fleet,
        options.state_dir,
        options.runtime_dir,
        keep=not options.no_keep,
        notify_fd=options.notify_fd,
        adapter=options.adapter,
        monitor=options.monitor,
        listen=options.metrics_listen,
    )
    return serve(chosen, options.early)


def do_start(options: argparse.Namespace) -> int:
    """Start by name or path.

    Raises:
        ConfigError: nothing in the file can be used.
    """
    path = options.what
    if not (os.path.exists(path) or path.endswith(".toml") or "/" in path):
        with _client(options) as client:
            return _show(options, client.ask("start", name=path), output.status)
    from duende.config import load_fleet

    found = load_fleet(path)  # every mistake is explained here, before a manager is started for nothing
    if found and all(isinstance(config, ConfigError) for _, config in found):
        problems = tuple(
            line for _, config in found if isinstance(config, ConfigError) for line in config.problems
        )
        raise ConfigError(f"cannot use {path}", problems=problems, source=path)
    try:
        client = _client(options, STOP_PATIENCE)  # what changed is stopped first
    except NotFoundError:
        from duende.cli.background import bring_up_manager

        client = bring_up_manager(options.runtime_dir, options.state_dir, STOP_PATIENCE)
    with client:
        result = client.ask("load", path=os.path.abspath(path))
        views = {view["name"]: view for view in client.ask("list")}
    names = [config.name for _, config in found if not isinstance(config, ConfigError)]
    if options.json:
        output.json({"ok": not (result["errors"] or result["failed"]), "result": result})
    else:
        output.ps([views[name] for name in names if name in views])
        for name, problem in {**result["errors"], **result["failed"]}.items():
            sys.stderr.write(f"duende: {name}: {problem}\n")
    return exits.FAILED if result["errors"] or result["failed"] else exits.OK


def do_deploy(options: argparse.Namespace) -> int:
    """Judge, then start by path."""
    from duende.cli.deploying import do_deploy as deploy

    return deploy(options)


do_up = do_deploy


def do_gate(options: argparse.Namespace) -> int:
    """Judge only."""
    from duende.cli.deploying import do_gate as gate

    return gate(options)


def do_stop(options: argparse.Namespace) -> int:
    """Stop one daemon."""
    with _client(options, STOP_PATIENCE) as client:
        result = client.ask("stop", name=options.name)
    _show(options, result, output.certificate)
    return exits.OK if result["proven"] else exits.FAILED


def do_restart(options: argparse.Namespace) -> int:
    """Restart one daemon."""
    with _client(options, STOP_PATIENCE) as client:
        return _show(options, client.ask("restart", name=options.name), output.status)


def do_forget(options: argparse.Namespace) -> int:
    """Unregister one daemon."""
    with _client(options) as client:
        return _show(
            options,
            client.ask("unregister", name=options.name),
            lambda _: print(f"{options.name}: forgotten"),
        )


def do_status(options: argparse.Namespace) -> int:
    """Say how one daemon is."""
    with _client(options) as client:
        view = client.ask("status", name=options.name)
    _show(options, view, output.status)
    if view["status"] == "Running" and view["health"] == "Unhealthy":
        return exits.UNHEALTHY
    return exits.OF_PHASE[view["status"]]


def do_ps(options: argparse.Namespace) -> int:
    """List all daemons."""
    with _client(options) as client:
        return _show(options, client.ask("list"), output.ps)


def do_explain(options: argparse.Namespace) -> int:
    """Say what became of each setting."""
    from duende.cli.explaining import do_explain as explain

    return explain(options)


def do_doctor(options: argparse.Namespace) -> int:
    """Look at every platform; fails where not even one can be used."""
    from duende.cli.doctor import as_wire, examine

    findings = examine()
    if options.capabilities and not options.json:
        from duende.testing.conformance.table import capability_table

        known = {each.name: each.capabilities for each in findings if each.capabilities is not None}
        print(capability_table(known))
    else:
        _show(options, as_wire(findings), output.platforms)
    return exits.OK if any(each.probe.state.value == "usable" for each in findings) else exits.FAILED


def do_signal(options: argparse.Namespace) -> int:
    """Send a signal."""
    from duende.signals import Signal

    wanted = Signal.parse(options.signal)
    with _client(options) as client:
        return _show(options, client.ask("signal", name=options.name, signal=wanted.value), lambda _: None)


def do_logs(options: argparse.Namespace) -> int:
    """Print the end of a daemon's output."""
    with _client(options) as client:
        path = client.ask("log_path", name=options.name) if options.follow else None
        # Before the lines are asked for: what comes in between may be shown twice, but is never missed.
        start = os.path.getsize(path) if path and os.path.exists(path) else 0
        lines = client.ask("logs", name=options.name, lines=options.lines)
    if options.json:
        output.json({"ok": True, "result": lines})
        return exits.OK
    for line in lines:
        print(line, flush=options.follow)
    if options.follow and path:
        from duende.cli.follow import follow

        follow(path, start)
    return exits.OK


def do_events(options: argparse.Namespace) -> int:
    """Print events."""
    with _client(options) as client:
        if not options.follow:
            return _show(options, client.ask("events", lines=options.lines), output.events)
        for happened in client.events(options.lines):
            output.event(happened)
    return exits.OK


def do_shutdown(options: argparse.Namespace) -> int:
    """End all daemons and the manager."""
    with _client(options, STOP_PATIENCE) as client:
        result = client.ask("shutdown")
    _show(options, result, output.certificates)
    return exits.OK if all(one["proven"] for one in result) else exits.FAILED


def do_limits(options: argparse.Namespace) -> int:
    """Look at limits, or change them."""
    from duende.cli.limiting import do_limits as limits

    return limits(options)


def do_top(options: argparse.Namespace) -> int:
    """Watch daemons."""
    from duende.cli.topping import do_top as top

    return top(options)


def do_trace(options: argparse.Namespace) -> int:
    """Trace system calls."""
    from duende.cli.tracing import do_trace as trace

    return trace(options)


def do_mlock(options: argparse.Namespace) -> int:
    """What of a process is locked into memory."""
    from duende.cli.locking import do_mlock as locking

    return locking(options)


def do_ublk(options: argparse.Namespace) -> int:
    """Block devices that processes serve."""
    from duende.cli.blockdevices import do_ublk as blockdevices

    return blockdevices(options)


def do_history(options: argparse.Namespace) -> int:
    """What a daemon has used so far."""
    from duende.cli.past import do_history as history

    return history(options)


def do_metrics(options: argparse.Namespace) -> int:
    """Print metrics."""
    from duende.cli.metering import do_metrics as metrics

    return metrics(options)


def do_policy(options: argparse.Namespace) -> int:
    """Look at a policy, or replace it."""
    from duende.cli.policing import do_policy as policy

    return policy(options)


def do_rehearse(options: argparse.Namespace) -> int:
    """Run daemons once under filters that note."""
    from duende.cli.rehearsing import do_rehearse as rehearse

    return rehearse(options)


def do_render(options: argparse.Namespace) -> int:
    """Write files for others."""
    from duende.cli.rendering import do_render as render

    return render(options)


def do_validate(options: argparse.Namespace) -> int:
    """Check files."""
    from duende.config import load_fleet

    report = []
    for path in options.files:
        try:
            found = load_fleet(path)
        except (ConfigError, DaemonIOError) as error:
            report.append(
                {"file": path, "ok": False, "problems": list(getattr(error, "problems", (error.problem,)))}
            )
            continue
        for name, config in found:
            bad = isinstance(config, ConfigError)
            report.append(
                {
                    "file": path,
                    "name": name,
                    "ok": not bad,
                    "problems": list(config.problems) if isinstance(config, ConfigError) else [],
                }
            )
    good = all(entry["ok"] for entry in report)
    if options.json:
        output.json({"ok": good, "result": report})
    else:
        for entry in report:
            for problem in entry["problems"]:
                sys.stderr.write(f"{problem}\n")
            if entry["ok"]:
                print(f"{entry['file']}: {entry['name']} is valid")
    return exits.OK if good else exits.FAILED
