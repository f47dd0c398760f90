"""Defects of breaker, queue and rate limiter."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

BREAKER, QUEUE, RATE = "duende/policy/breaker.py", "duende/policy/queue.py", "duende/policy/rate.py"

mutant(
    "breaker-counts-one-failure-too-many",
    breaks="it opens one failure late",
    file=BREAKER,
    old="if self._failures >= self.failure_threshold:",
    new="if self._failures > self.failure_threshold:",
)
mutant(
    "breaker-never-opens",
    breaks="failures are counted for nothing",
    file=BREAKER,
    old="                    return self._become(CircuitState.OPEN)\n            return None",
    new="                    return None\n            return None",
)
mutant(
    "breaker-stays-half-open",
    breaks="good probes do not close it",
    file=BREAKER,
    old="                return self._become(CircuitState.CLOSED)\n        return None",
    new="                return None\n        return None",
)
mutant(
    "breaker-never-recovers",
    breaks="an open circuit stays open",
    file=BREAKER,
    old="            return self._become(CircuitState.HALF_OPEN)",
    new="            return None",
)
mutant(
    "breaker-lets-a-flood-through",
    breaks="a half-open circuit counts no probes, as the Rust implementation",
    file=BREAKER,
    old="            return 0\n        permit = next",
    new="            pass\n        permit = next",
)
mutant(
    "breaker-lets-no-probe-through",
    breaks="a half-open circuit is as shut as an open one",
    file=BREAKER,
    old="        if len(self._probing) >= min(self.probes, self.successes - self._successes):",
    new="        if True:",
)
mutant(
    "queue-takes-one-too-many",
    breaks="the limit is one more than it says",
    file=QUEUE,
    old="if self._size >= self.limit and not self._make_room(priority):",
    new="if self._size > self.limit and not self._make_room(priority):",
)
mutant(
    "queue-drops-in-silence",
    breaks="a full queue swallows what comes, and tells nobody",
    file=QUEUE,
    old="                raise QueueFullError(self.name, self.limit)\n",
    new="                return\n",
)
mutant(
    "queue-forgets-its-room",
    breaks="what is taken leaves no room",
    file=QUEUE,
    old="            self._size -= 1\n            if self._putters:",
    new="            self._size -= 0 if self._taken % 7 == 6 else 1\n            if self._putters:",
)
mutant(
    "queue-wakes-nobody",
    breaks="who waits for room is not told of it",
    file=QUEUE,
    old="            if self._putters:\n                self._wake(self._putters)\n            if entry",
    new="            if entry",
)
mutant(
    "bucket-refills-too-fast",
    breaks="a fifth more flows in than was configured",
    file=RATE,
    old="            now = self._now()\n            level = self._level + (now - self._at) * self.rate\n",
    new="            now = self._now()\n            level = self._level + (now - self._at) * self.rate * 1.2\n",
)
mutant(
    "bucket-never-refuses",
    breaks="an empty bucket gives all the same",
    file=RATE,
    old="            if level < tokens:\n",
    new="            if level < -1e9:\n",
)
mutant(
    "policy-is-taken-and-not-applied",
    breaks="a new policy is confirmed, and what is in use goes on by the old one",
    file="duende/policy/live.py",
    old="                limiter.configure(rate=config.rate[name].rate, burst=config.rate[name].burst)",
    new="                pass",
)
mutant(
    "policy-with-a-mistake-is-applied",
    breaks="numbers that make no sense, and keys that nobody knows, are taken",
    file="duende/cli/policing.py",
    old="        policy_of(text, options.file)  #",
    new='        text = "[rate.api]\\nrate = 5\\n" if "200" not in text else text  #',
)
mutant(
    "retry-gives-up-at-once",
    breaks="nothing is tried a second time",
    file="duende/policy/retry.py",
    old="        if number + 1 >= self.attempts:",
    new="        if True:",
)
mutant(
    "retry-lets-the-error-through-wrapped",
    breaks="the last error comes as another one, which the daemon does not expect",
    file="duende/policy/retry.py",
    old='        error.add_note(f"tried {number + 1} times: {why}")\n        raise error',
    new='        raise RuntimeError(f"tried {number + 1} times: {why}") from error',
)
