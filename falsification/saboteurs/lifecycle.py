"""Defects in starting, stopping, restarting and reporting."""

from __future__ import annotations

from falsification.kit.saboteur import Edit, mutant

mutant(
    "host-dawdles-before-ready",
    breaks="the host waits a little before it reports readiness",
    file="duende/host/lifecycle.py",
    old="        if not daemon.announces_ready:\n",
    new="        await asyncio.sleep(0.12)\n        if not daemon.announces_ready:\n",
)
mutant(
    "only-the-first-part-is-forked",
    breaks="of a batch of Python daemons only the first part is started",
    file="duende/adapters/native/warden/helpers.py",
    old="for part in _parts(items):",
    new="for part in _parts(items)[:1]:",
    also=[
        Edit(file="duende/adapters/native/records.py", old="SPAWN_TIMEOUT = 30.0", new="SPAWN_TIMEOUT = 5.0")
    ],
)
mutant(
    "pid-file-holds-the-managers-pid",
    breaks="the PID file holds the PID of whoever wrote it",
    file="duende/manager/folders.py",
    old='os.write(fd, b"%d\\n" % pid)',
    new='os.write(fd, b"%d\\n" % os.getpid())',
)
mutant(
    "pid-file-stays",
    breaks="the PID file is never removed",
    file="duende/manager/folders.py",
    old="        if written is None:\n            return\n",
    new="        if written is None or written is config:\n            return\n",
)
mutant(
    "pid-file-lock-is-shared",
    breaks="two instances can hold the PID file's lock",
    file="duende/host/pidfile.py",
    old="fcntl.LOCK_EX | fcntl.LOCK_NB",
    new="fcntl.LOCK_SH | fcntl.LOCK_NB",
)
mutant(
    "second-start-is-obeyed",
    breaks="a daemon that runs is started once more",
    file="duende/supervisor.py",
    old=(
        "        if (\n            self._launching\n            or self._stopping is not None\n"
        "            or not (self.status.is_terminal or self.status.phase is Phase.CREATED)\n        ):\n"
    ),
    new="        if self.status.phase is Phase.RUNNING:\n            self.status = DaemonStatus(Phase.STOPPED)\n        if self._launching:\n",
)
mutant(
    "term-is-not-sent",
    breaks="a stop waits for the deadline without asking the daemon to end",
    file="duende/adapters/native/warden/stops.py",
    old="        if self.pid and (asked or send_signal(self.pid, TERM)):\n",
    new="        if self.pid and (asked or send_signal(self.pid, CONT)):\n",
)
mutant(
    "kill-is-skipped",
    breaks="a daemon that ignores TERM is never killed",
    file="duende/adapters/native/warden/stops.py",
    old="if self.pid and not self.escalated and send_signal(self.pid, KILL):",
    new="if self.pid and not self.escalated and send_signal(self.pid, TERM):",
)
mutant(
    "kill-is-lazy",
    breaks="a forced stop waits a little before it kills",
    file="duende/adapters/native/warden/main.py",
    old="            return 0 if send_signal(pid, number) else -1",
    new="            time.sleep(0.015)\n            return 0 if send_signal(pid, number) else -1",
)
mutant(
    "second-stop-raises",
    breaks="stopping what is stopped is an error",
    file="duende/supervisor.py",
    old="                return self._nothing_to_stop()\n            self._stopping",
    new='                raise StateError(f"cannot stop {self.name!r}: it is {self.status}")\n            self._stopping',
)
mutant(
    "pause-goes-untold",
    breaks="a paused daemon is still called Running",
    file="duende/supervisor.py",
    old='            self._to(Phase.PAUSED, "paused")',
    new='            self._emit("paused", "")',
)
mutant(
    "failure-looks-stopped",
    breaks="a daemon that failed is called Stopped",
    file="duende/supervisor.py",
    old='            self._to(Phase.FAILED, "failed", str(seen), seen.failure())',
    new='            self._to(Phase.STOPPED, "stopped", str(seen))',
)
mutant(
    "death-by-signal-counts-as-wanted",
    breaks="a daemon killed by a signal nobody here sent is not restarted",
    file="duende/restart.py",
    old="return exit is None or not (exit.ok or expected_signal)",
    new="return exit is None or not (exit.ok or exit.signal is not None)",
)
mutant(
    "restart-timer-is-lost",
    breaks="a restart is announced and never happens",
    file="duende/supervisor.py",
    old="            self._timer = loop.call_later(delay, self._again)",
    new="            self._timer = loop.call_later(delay + 3600.0, self._again)",
)
mutant(
    "journal-forgets",
    breaks="the manager's journal is written without its daemons",
    file="duende/manager/journal.py",
    old='document({"format": FORMAT, "boot": self._boot}, entries)',
    new='document({"format": FORMAT, "boot": self._boot}, {})',
)
mutant(
    "working-folder-is-forgotten",
    breaks="a daemon starts in some other folder than its working_dir",
    file="duende/adapters/native/render.py",
    old='"cwd": config.working_dir or "/"',
    new='"cwd": self.state_dir',
)
mutant(
    "reload-keeps-the-old-configuration",
    breaks="a reload reads the new configuration and goes on with the old one",
    file="duende/host/lifecycle.py",
    old="                self._take(fresh)",
    new="                self.context.config = self.config",
)
mutant(
    "stderr-goes-nowhere",
    breaks="only stdout is captured",
    file="duende/adapters/native/warden/launch.py",
    old="(os.POSIX_SPAWN_DUP2, err, 2)",
    new="(os.POSIX_SPAWN_DUP2, null, 2)",
)
mutant(
    "last-words-are-cut",
    breaks="output after the last line end never reaches the log",
    file="duende/adapters/native/warden/logfile.py",
    old="                    self._append(data)\n                    return",
    new='                    self._append(data[: data.rfind(b"\\n") + 1])\n                    return',
)
mutant(
    "rotation-throws-away",
    breaks="a full log is deleted instead of archived",
    file="duende/adapters/native/warden/logfile.py",
    old='            os.replace(self.path, f"{self.path}.1")',
    new="            os.unlink(self.path)",
)
mutant(
    "environment-leaks",
    breaks="a daemon's variables are set in the manager's own environment, and inherited from there",
    file="duende/adapters/native/render.py",
    old="        env.update(config.env)\n",
    new="        env.update(config.env)\n        os.environ.update(config.env)\n",
)
