"""Attempts on policy in a running daemon: changed through the command, in force without a restart."""

from __future__ import annotations

import time

from falsification.kit import Trial, attempt
from falsification.policy.test_deployment import Site

BUSY = '''"""A daemon that asks for more than it may."""
from duende import Daemon, DaemonContext, ExitReason


class Web(Daemon):
    """Asks its limiter as often as it can."""

    name = "web"

    async def run(self, ctx: DaemonContext) -> ExitReason:
        """Ask."""
        while not ctx.should_shutdown():
            ctx.policy.rate("api").try_acquire()
            await ctx.sleep(0.0005)
        return ExitReason.graceful()
'''
WINDOW = 1.5
"""Seconds over which admissions are counted."""


@attempt(
    "F080", timeout=120, saboteurs=["policy-is-taken-and-not-applied", "policy-with-a-mistake-is-applied"]
)
def test_a_policy_changes_without_a_restart(trial: Trial) -> None:
    """A new rate is in force at once in the process that runs; a policy with a mistake is refused, and the old one stays in force."""
    trial.situation("the daemon was limited by the first policy")
    trial.situation("a new policy was put in force")
    trial.situation("a policy with a mistake was tried", at_least=2)
    site = Site(trial)
    site.write("web", BUSY, "1.0.0")
    fleet = site.folder / "fleet" / "web.toml"
    fleet.write_text(
        fleet.read_text().replace("[quality]\nenabled = true\n", "[policy.rate.api]\nrate = 20\nburst = 1\n")
    )
    trial.check(site.deploy()[0] == 0, "the daemon is deployed")
    before = site.instance()
    file = site.folder / "policy.toml"

    def admitted() -> int:
        code, said = site.run("policy", "web")
        trial.check(code == 0, f"the daemon shows its policy: {said}")
        return int(said["result"]["in_use"].get("rate", {}).get("api", {}).get("admitted", 0))

    def rate() -> float:
        """Admissions a second, over a window."""
        began, first = time.monotonic(), admitted()
        while time.monotonic() - began < WINDOW:
            time.sleep(0.05)
        last = admitted()
        return (last - first) / (time.monotonic() - began)

    slow = rate()
    trial.reached("the daemon was limited by the first policy", 5 < slow <= 25)
    file.write_text("[rate.api]\nrate = 200\nburst = 1\n", encoding="utf-8")
    began = time.monotonic()
    code, said = site.run("policy", "web", str(file))
    took = time.monotonic() - began
    trial.check(code == 0, f"the new policy is taken: {said}")
    trial.reached("a new policy was put in force")
    fast = rate()
    trial.check(fast > 4 * slow, f"it is in force at once: {slow:.0f}/s before, {fast:.0f}/s after")
    trial.check(fast <= 250, f"and is the one that was given: {fast:.0f}/s of 200")
    for wrong in ("[rate.api]\nrate = 5\nbrust = 1\n", "[rate.api]\nrate = -5\n"):
        file.write_text(wrong, encoding="utf-8")
        code, said = site.run("policy", "web", str(file))
        trial.check(code != 0 and said["error"]["message"], f"a mistake is told: {said}")
        trial.reached("a policy with a mistake was tried")
    kept = rate()
    trial.check(kept > 4 * slow, f"the old policy stays in force: {kept:.0f}/s")
    trial.check(site.instance() == before, f"and the process is the same: {before}, {site.instance()}")
    trial.figure("admitted before", slow, unit="1/s")
    trial.figure("admitted after", fast, unit="1/s")
    trial.figure("the command took", took * 1000, unit="ms")
