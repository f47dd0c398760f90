"""Defects of the tracer."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

TRACER, PATTERNS = "duende/observe/trace/tracer.py", "duende/observe/trace/patterns.py"

mutant(
    "the-tracer-is-not-idle-and-busy",
    breaks="the tracer takes a processor for itself",
    file=TRACER,
    old="        _step_back(threading.get_native_id(), idle=self._background)\n        try:\n"
    "            while not self._stop.is_set():\n                self._take(INTERVAL)\n",
    new="        import threading as more\n\n"
    "        def spin() -> None:\n            while not self._stop.is_set():\n                pass\n\n"
    "        [more.Thread(target=spin, daemon=True).start() for _ in range(2)]\n        try:\n"
    "            while not self._stop.is_set():\n                self._take(0.0)\n",
)
mutant(
    "tracing-takes-strace",
    breaks="whatever is asked for, strace is used",
    file=TRACER,
    old="        if method != STRACE:\n",
    new="        if method is None:\n",
)
mutant(
    "lines-are-those-behind-the-call",
    breaks="the line told is that of the next instruction, or the next line",
    file="duende/observe/trace/source.py",
    old='        found[(told["call"], stack)] =',
    new='        stack = tuple(msgspec.structs.replace(each, line=each.line + 1) for each in stack)\n        found[(told["call"], stack)] =',
)
mutant(
    "the-outermost-frame-is-told",
    breaks="the place told is that of the outermost function",
    file="duende/observe/trace/source.py",
    old="for each in self.stack if each.known)",
    new="for each in reversed(self.stack) if each.known)",
)
mutant(
    "spikes-are-told-late",
    breaks="what the kernel has noted is read every three seconds",
    file=TRACER,
    old="INTERVAL = 0.1\n",
    new="INTERVAL = 3.0\n",
)
mutant(
    "spikes-join-their-window",
    breaks="a call is taken in before it is compared, ten times over",
    file=TRACER,
    old="        found = detector.observe(call.duration / 1e9, end)\n",
    new="        for _ in range(60):\n            detector.observe(call.duration / 1e8, end)\n"
    "        found = detector.observe(call.duration / 1e9, end)\n",
)
mutant(
    "loops-are-tight-at-999",
    breaks="999 calls in a row are a tight loop",
    file=PATTERNS,
    old="TIGHT = 1000\n",
    new="TIGHT = 999\n",
)
mutant(
    "loops-are-tight-at-1001",
    breaks="1000 calls in a row are no tight loop",
    file=PATTERNS,
    old="TIGHT = 1000\n",
    new="TIGHT = 1001\n",
)
mutant(
    "other-calls-do-not-end-a-loop",
    breaks="a run goes on over calls of other kinds",
    file=PATTERNS,
    old="            self._runs[call.tid] = [call.number, 1]\n",
    new="            self._runs.setdefault(call.tid, [call.number, 1])\n",
)
