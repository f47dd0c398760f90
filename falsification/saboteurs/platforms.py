"""Defects of adapters and of detection."""

from __future__ import annotations

from falsification.kit.saboteur import Edit, mutant

mutant(
    "container-start-dawdles",
    breaks="half a second passes between making a container and starting it",
    file="duende/adapters/container/launching.py",
    old="            await engine.start(container)\n",
    new="            await asyncio.sleep(0.5)\n            await engine.start(container)\n",
)
mutant(
    "container-runs-a-placeholder",
    breaks="the container's program gets an hour as its argument instead of what was given",
    file="duende/adapters/container/render.py",
    old='        "Cmd": list(plan.argv[1:]),',
    new='        "Cmd": ["3600"],',
)
mutant(
    "docker-is-told-not-to-restart",
    breaks="a delegated restart policy does not reach Docker",
    file="duende/adapters/container/render.py",
    old='{"Name": plan.restart[0], "MaximumRetryCount": plan.restart[1]}',
    new='{"Name": "no", "MaximumRetryCount": 0}',
)
mutant(
    "container-has-no-health-check",
    breaks="the health check does not reach the container's configuration",
    file="duende/adapters/container/render.py",
    old="    if plan.health is None:\n",
    new="    if True:\n",
)
mutant(
    "systemd-starts-a-placeholder",
    breaks="the unit runs sleep instead of what was given",
    file="duende/adapters/systemd/render.py",
    old='("ExecStart", "a(sasb)", [_command(config)])',
    new='("ExecStart", "a(sasb)", [("/bin/sleep", ["/bin/sleep", "3600"], False)])',
)
mutant(
    "systemd-is-told-not-to-restart",
    breaks="a delegated restart policy does not reach systemd",
    file="duende/adapters/systemd/render.py",
    old='        ("Restart", "s", RESTARTS[restart.policy]),',
    new='        ("Restart", "s", "no"),',
)
mutant(
    "detection-finds-no-systemd",
    breaks="a host with systemd is taken for any other",
    file="duende/adapters/choose.py",
    old='"/run/systemd/system" in host.paths',
    new='"/run/systemd/sytem" in host.paths',
)
mutant(
    "detection-sees-no-container",
    breaks="the marks of a container are not looked at",
    file="duende/adapters/choose.py",
    old='{"/.dockerenv", "/run/.containerenv"} & host.paths',
    new='{"/.nothing"} & host.paths',
    also=[
        Edit(
            file="duende/adapters/choose.py",
            old="    marked = any(mark in host.init_cgroup",
            new="    marked = False and any(mark in host.init_cgroup",
        )
    ],
)
