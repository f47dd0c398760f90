"""Shaper: how fast a network namespace may send, by a token bucket (tc-tbf(8)) on its interface.

Only in a namespace of the daemon's own: the same on an interface of the host would hold back everybody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any

import msgspec

from duende.errors import PlatformResourceError

HANDLE = "d0e:"
"""Of the queueing disciplines that are made here: another root discipline is somebody else's, and is left alone."""
BUCKET = 0.02
"""Seconds of traffic that may leave at once: the bucket. The kernel's timers wake within a few milliseconds, and smaller ones are not filled."""
WINDOW = 5.0
"""Seconds over which the rate must hold: such a window may begin with a full bucket, and so much less is asked for."""
BUCKET_LEAST = 5000
"""Bytes: three full Ethernet frames; a packet that is larger than the bucket never leaves, but for those that the kernel can cut (GSO)."""
QUEUE = "50ms"
"""How long a packet may wait before it is dropped: long enough for TCP to fill the rate, short enough that it hears of it."""
LEAST = 10_000
"""Bytes a second: below it the bucket's share of a window would be more than a tenth of the rate."""
WITHIN = 10.0
"""Seconds for one call of tc."""


class Shaper:
    """What leaves the network namespace *namespace*, a file of /run/netns or /proc/PID/ns/net. Nothing is changed before `apply`."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def apply(self, bps: int) -> None:
        """Let it send *bps* bytes a second, at most; 0 takes the limit away.

        Raises:
            PlatformResourceError: there is no such namespace, it is the host's own, it has not exactly one interface besides lo, or tc is missing
                or refuses.
        """
        if bps and bps < LEAST:
            raise PlatformResourceError(
                f"cannot limit the network of {self.namespace} to {bps} bytes a second: a few packets at once are more",
                remedy=f"use {LEAST} or more",
            )
        if os.path.exists(self.namespace) and os.path.samefile(self.namespace, "/proc/self/ns/net"):
            raise PlatformResourceError(
                f"cannot limit the network of {self.namespace}: it is this host's own namespace, and everybody's",
                remedy="give the daemon one of its own: ip netns add NAME, security.network_namespace",
            )
        device = self._device()
        root = self._root(device)
        if root is not None and root.get("handle") not in ("0:", HANDLE):
            raise PlatformResourceError(
                f"cannot limit the network of {self.namespace}: {device} has a queueing discipline of somebody else's, {root.get('kind')}",
                remedy=f"remove it: tc qdisc del dev {device} root",
            )
        if bps:
            self._tc("qdisc", "replace", "dev", device, *rule(bps))
        elif root is not None and root.get("handle") == HANDLE:
            self._tc("qdisc", "del", "dev", device, "root")

    def shown(self) -> tuple[int, int]:
        """(bytes a second that are let through, 0 for no limit of ours; bytes sent so far), as the kernel has it.

        Raises:
            PlatformResourceError: it cannot be asked.
        """
        root = self._root(self._device())
        if root is None or root.get("handle") != HANDLE:
            return 0, 0
        return int(root.get("options", {}).get("rate", 0)), int(root.get("bytes", 0))

    # -- below ---------------------------------------------------------------------------------------------------------------

    def _device(self) -> str:
        links = _table(self._run("ip", "-json", "link", "show", "up"))
        names = [str(link.get("ifname", "")) for link in links if "LOOPBACK" not in link.get("flags", ())]
        if len(names) != 1:
            raise PlatformResourceError(
                f"cannot limit the network of {self.namespace}: it has {', '.join(names) or 'nothing'} up besides lo, and the limit is for one interface",
                remedy="give it one: ip link add HERE type veth peer name THERE netns NAME",
            )
        return names[0]

    def _root(self, device: str) -> dict[str, Any] | None:
        found = _table(self._tc("-json", "-s", "qdisc", "show", "dev", device))
        return next((each for each in found if each.get("root")), None)

    def _tc(self, *words: str) -> str:
        return self._run("tc", *words)

    def _run(self, *words: str) -> str:
        for program in (words[0], "nsenter"):
            if shutil.which(program) is None:
                package = "util-linux" if program == "nsenter" else "iproute2"
                raise PlatformResourceError(
                    f"cannot limit the network of {self.namespace}: {program} is not on the path",
                    remedy=f"install it (Debian: {package})",
                )
        line = ["nsenter", f"--net={self.namespace}", *words]
        try:
            done = subprocess.run(
                line,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=WITHIN,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PlatformResourceError(
                f"cannot limit the network of {self.namespace}: {' '.join(line)}: {error}"
            ) from error
        if done.returncode:
            said = (done.stderr or done.stdout).strip().replace("\n", "; ")
            raise PlatformResourceError(
                f"cannot limit the network of {self.namespace}: {said or f'{words[0]} ended with {done.returncode}'}",
                remedy="make the namespace (ip netns add NAME), and run as root",
            )
        return done.stdout


def rule(bps: int) -> list[str]:
    """What tc is told for *bps* bytes a second: pure.

    A window of `WINDOW` may begin with a full bucket, so the rate is a bucket's share less: no window holds more than *bps* times its length.
    """
    bucket = max(BUCKET_LEAST, int(bps * BUCKET))
    rate = max(1, int(bps - bucket / WINDOW))
    return [
        "root",
        "handle",
        HANDLE,
        "tbf",
        "rate",
        f"{rate}bps",
        "burst",
        str(bucket),
        "latency",
        QUEUE,
    ]


def _table(text: str) -> list[dict[str, Any]]:
    """What ip(8) and tc(8) print with -json; anything else is nothing."""
    try:
        found = msgspec.json.decode(text or "[]")
    except msgspec.DecodeError:
        return []
    return [each for each in found if isinstance(each, dict) and each] if isinstance(found, list) else []
