"""System calls as strace(1) tells them, where the kernel's own tracer is not to be had: by ptrace(2), some hundred times slower."""

from __future__ import annotations

import errno
import os
import re
import select
import shutil
import signal
import subprocess
import time

from duende.errors import TracerFailedError
from duende.observe.trace.call import Call, names

LINE = re.compile(r"(?:\[pid +([0-9]{1,9})\] )?([0-9]{1,12}\.[0-9]{6}) (.*)")
RESULT = r"\) += (0|-?[1-9][0-9]{0,18}|0x[0-9a-f]{1,16}|\?)(?: (E\w+) .*?)? *<([0-9]{1,9}\.[0-9]{1,9})>"
WHOLE = re.compile(r"(\w+)\((.*)" + RESULT)
UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)" + RESULT)
ATTACH_S = 5.0
"""Seconds within which strace must say that it has attached."""
END_S = 5.0
CODES = {name: code for code, name in errno.errorcode.items()}
CODES |= {"ERESTARTSYS": 512, "ERESTARTNOINTR": 513, "ERESTARTNOHAND": 514, "ERESTART_RESTARTBLOCK": 516}
NUMBERS = {name: number for number, name in names().items()}


class Parser:
    """Lines of `strace -f -ttt -T -e raw=all`, put together."""

    def __init__(self, offset: float = 0.0) -> None:
        """With the *offset* in seconds from Unix time to the monotonic clock."""
        self.offset = offset
        self._begun: dict[int, str] = {}

    def call(self, line: str, tid: int = 0) -> Call | None:
        """The call that came to an end with this line; None for every other line. *tid* is of lines that name none."""
        found = LINE.fullmatch(line.rstrip("\n"))
        if found is None:
            return None
        thread = int(found[1]) if found[1] else tid
        begun = UNFINISHED.fullmatch(found[3])
        if begun is not None:
            self._begun[thread] = begun[2]
            return None
        resumed = RESUMED.fullmatch(found[3])
        if resumed is not None:
            name, rest, result, error, spent = resumed.groups()
            arguments = self._begun.pop(thread, "") + rest
        else:
            whole = WHOLE.fullmatch(found[3])
            if whole is None:
                return None
            name, arguments, result, error, spent = whole.groups()
        if name not in NUMBERS or result == "?":
            return None
        duration = int(float(spent) * 1e9)
        at = int((float(found[2]) + self.offset) * 1e9) - (duration if resumed is not None else 0)
        value = -CODES.get(error, 1) if error else int(result, 0)
        first, second = _arguments(arguments)
        return Call(at, thread, NUMBERS[name], duration, value, first, second)


def _arguments(text: str) -> tuple[int, int]:
    values = []
    for word in text.split(",")[:2]:
        try:
            values.append(int(word.strip(), 0))
        except ValueError:
            values.append(0)
    return values[0] if values else 0, values[1] if len(values) > 1 else 0


class Strace:
    """strace, attached to a process with all its threads, following what it starts."""

    def __init__(self, pids: list[int]) -> None:
        """Attach it to *pids*.

        Raises:
            TracerFailedError: it is not installed, or is not allowed to.
        """
        program = shutil.which("strace")
        if program is None:
            raise TracerFailedError("strace is not installed", remedy="install the package strace")
        line = [program, "-f", "-ttt", "-T", "-e", "raw=all", "-e", "signal=none", "-s", "0"]
        for pid in pids:
            line += ["-p", str(pid)]
        self.pids = pids
        self.lost = 0
        self._parser = Parser(time.monotonic() - time.time())
        self._process = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._rest = b""
        self._told: list[str] = []
        self._await_attached()

    def read(self, wait: float) -> list[Call]:
        """The calls told within *wait* seconds."""
        calls = []
        for line in self._lines(wait):
            call = self._parser.call(line, self.pids[0])
            if call is not None:
                calls.append(call)
            elif not LINE.fullmatch(line):
                self._told.append(line)
        return calls

    def remove(self) -> None:
        """Detach; the daemon goes on."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)  # strace detaches, strace(1)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the kernel detaches what a tracer that ends had attached, ptrace(2)
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _await_attached(self) -> None:
        deadline = time.monotonic() + ATTACH_S
        while time.monotonic() < deadline:
            for line in self._lines(0.2):
                if "attached" in line:
                    return
                self._told.append(line)
            if self._process.poll() is not None:
                break
        self.remove()
        why = "; ".join(each.removeprefix("strace: ") for each in self._told) or "it said nothing"
        raise TracerFailedError(
            f"strace cannot attach: {why}",
            remedy="run as root, or as the daemon's user with /proc/sys/kernel/yama/ptrace_scope at 0",
        )

    def _lines(self, wait: float) -> list[str]:
        pipe = self._process.stderr
        if pipe is None:
            return []
        data = self._rest
        deadline = time.monotonic() + wait
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([pipe], [], [], left)
            if not ready:
                break
            chunk = os.read(pipe.fileno(), 1 << 16)
            if not chunk:
                break
            data += chunk
        whole, newline, rest = data.rpartition(b"\n")
        self._rest = rest if newline else data
        return whole.decode(errors="replace").splitlines() if newline else []
