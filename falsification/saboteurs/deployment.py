"""Defects of the gates before a deployment."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

GATE, MEASURES = "duende/policy/quality/gate.py", "duende/policy/quality/measures.py"
DEPLOYING, JIDOKA = "duende/cli/deploying.py", "duende/policy/jidoka.py"

mutant(
    "gate-counts-no-branches",
    breaks="every function is as simple as the simplest",
    file=MEASURES,
    old="block.fullname, float(block.complexity))",
    new="block.fullname, 1.0)",
)
mutant(
    "deploy-asks-no-gate",
    breaks="deploy takes no notice of quality.enabled",
    file=DEPLOYING,
    old="and (every or config.quality.enabled):",
    new="and every:",
)
mutant(
    "gate-reads-no-comments",
    breaks="comments are not looked at",
    file=MEASURES,
    old="if token.type == tokenize.COMMENT and",
    new="if token.type == tokenize.OP and",
)
mutant(
    "gate-finds-nothing-dead",
    breaks="vulture is asked for certainties only, and an unused function is none",
    file=MEASURES,
    old="DEAD_CONFIDENCE = 60",
    new="DEAD_CONFIDENCE = 100",
)
mutant(
    "gate-gives-full-marks",
    breaks="the score is what it would be at best",
    file=MEASURES,
    old="    return sum(weight * max(0.0, min(1.0, factor)) for weight, factor in parts)",
    new="    return sum(weight for weight, _ in parts)",
)
mutant(
    "deploy-goes-on-after-a-stop",
    breaks="the gate's word is shown and not followed",
    file=DEPLOYING,
    old="    if not outcome.passed:\n        if not options.json:",
    new="    if False:\n        if not options.json:",
)
mutant(
    "jidoka-lets-the-line-run",
    breaks="violations are noted, and the outcome passes",
    file=JIDOKA,
    old="        return not self.violations",
    new="        return True",
)
