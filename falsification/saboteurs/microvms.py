"""Defects of the pepita adapter, and of sleeping by the wrong clock."""

from __future__ import annotations

from falsification.kit.saboteur import Edit, mutant

mutant(
    "pepita-boots-every-time",
    breaks="no VM starts from a snapshot",
    file="duende/adapters/pepita/render.py",
    old='    words += ["--cold"] if settings.cold else []\n',
    new='    words += ["--cold"]\n',
)
mutant(
    "pepita-forgets-the-processors",
    breaks="every VM has one processor",
    file="duende/adapters/pepita/render.py",
    old='"--vcpus", str(vcpus_of(config, settings))',
    new='"--vcpus", "1"',
)
mutant(
    "pepita-forgets-the-memory",
    breaks="every VM has 256 MiB",
    file="duende/adapters/pepita/render.py",
    old='"--memory", str(memory)',
    new='"--memory", "256"',
)
mutant(
    "pepita-has-no-vsock",
    breaks="a VM that should have AF_VSOCK gets none",
    file="duende/adapters/pepita/render.py",
    old='        words += ["--vsock-cid", str(cid_of(request.daemon_id))]\n',
    new="",
)
mutant(
    "pepita-leaves-the-files-behind",
    breaks="files of the configuration do not go into the VM",
    file="duende/adapters/pepita/render.py",
    old="(*files, *libraries, *settings.files)",
    new="(*files, *libraries)",
)
mutant(
    "sleep-goes-by-the-wall-clock",
    breaks="a daemon's sleep ends by the time of day",
    file="duende/daemon.py",
    old="        deadline = loop.time() + seconds\n",
    new='        wall = __import__("time").time\n        deadline = wall() + seconds\n',
    also=[
        Edit(
            file="duende/daemon.py",
            old="            left = deadline - loop.time()\n",
            new="            left = deadline - wall()\n",
        )
    ],
)
