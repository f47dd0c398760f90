"""Defects of confinement."""

from __future__ import annotations

from falsification.kit.saboteur import mutant

CONFINED, SECCOMP = "duende/adapters/native/warden/confined.py", "duende/kernel/seccomp.py"
PROFILES = "duende/policy/security/profiles.py"

mutant(
    "filter-is-not-installed",
    breaks="the filter is made and not put on the process",
    file=CONFINED,
    old='        seccomp.install(what["filter"])\n',
    new="        del seccomp\n",
)
mutant(
    "filter-allows-what-it-does-not-know",
    breaks="the allow-list is followed by an answer that allows",
    file=SECCOMP,
    old="    found = [(0, actions.get(0, otherwise))]\n",
    new="    otherwise = SECCOMP_RET_ALLOW\n    found = [(0, actions.get(0, otherwise))]\n",
)
mutant(
    "profile-lacks-a-call",
    breaks="no profile allows epoll_wait, which servers wait in",
    file=PROFILES,
    old="in (table if calls.allowed is None else calls.allowed) if name in table}",
    new='in (table if calls.allowed is None else calls.allowed) if name in table and not name.startswith("epoll")}',
)
mutant(
    "filter-kills-everything",
    breaks="the list is taken the wrong way round",
    file=SECCOMP,
    old="    actions = dict.fromkeys(allowed, SECCOMP_RET_ALLOW)",
    new="    actions = dict.fromkeys(allowed, SECCOMP_RET_KILL_PROCESS)",
)
mutant(
    "files-are-not-confined",
    breaks="a rule for the root folder lets everything be reached",
    file="duende/kernel/landlock.py",
    old="        for paths, allowed in ((readable, READ), (writable, rights)):",
    new='        for paths, allowed in ((readable, READ), (["/"], rights)):',
)
mutant(
    "network-stays-on",
    breaks="sockets are of any family",
    file=PROFILES,
    old='        unix_only=table["socket"] if calls.unix_only else None,',
    new="        unix_only=None,",
)
mutant(
    "capabilities-stay",
    breaks="what is to be dropped is reckoned as nothing",
    file=PROFILES,
    old="    return ((1 << len(CAPABILITIES)) - 1) & ~kept_capabilities(security)",
    new="    return 0",
)
