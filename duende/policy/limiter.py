"""ResourceLimiter: one control group with limits, made, filled, changed, watched and removed."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterable

from duende.errors import PlatformResourceError
from duende.policy.cgroups.readings import Usage, limit_shown, number, usage_of
from duende.policy.cgroups.view import ACCOUNT, CONTROLLERS, FREEZER, Hierarchy, View, read_text, this_host
from duende.policy.cgroups.writes import Limits, Writes, writes

FROZEN_WITHIN = 2.0
"""Seconds until the kernel must have frozen a group."""
ROUNDS = 200
"""How often a kill looks for what was forked meanwhile, on kernels without cgroup.kill."""


class ResourceLimiter:
    """A group called *name* in every tree that it needs. Nothing of it exists before `apply`."""

    def __init__(
        self, name: str, limits: Limits | None = None, *, view: View | None = None, freezable: bool = False
    ) -> None:
        """With *limits*, below this process's own groups, or where *view* says; *freezable* ones of version 1 need a group in a tree more.

        Raises:
            PlatformResourceError: the name is none for a group.
        """
        if not name or "/" in name or name in (".", "..") or "\0" in name or "\n" in name:
            raise PlatformResourceError(f"{name!r} is no name for a control group")
        self.name = name
        self.limits = limits or Limits()
        self.freezable = freezable
        self._view = view or this_host()

    @property
    def paths(self) -> list[str]:
        """Folders of the group, one for each tree."""
        needed = {f"{tree.base}/{self.name}" for tree in self._trees().values()}
        every = dict.fromkeys(f"{tree.base}/{self.name}" for tree in self._view.hierarchies)
        # What limits of before needed is one of its folders still, and goes with it.
        return [path for path in every if path in needed or os.path.isdir(path)]

    @property
    def exists(self) -> bool:
        """Whether it is made."""
        return any(os.path.isdir(path) for path in self.paths)

    def missing(self) -> dict[str, str]:
        """Controllers that the limits need and this host has not, each with the reason."""
        needed = [name for name in CONTROLLERS if writes(self.limits, name, 2)]
        return {name: self._view.lacking(name) for name in needed if self._view.home_of(name) is None}

    def apply(self, limits: Limits | None = None, *, loose: Iterable[str] = ()) -> None:
        """Make the group, or change it: with *limits* instead of those it had. What of the controllers *loose* cannot be enforced is left out.

        Raises:
            PlatformResourceError: a limit cannot be enforced; what is missing is said, and a group that was made for it is gone again.
        """
        wanted = self.limits if limits is None else limits
        before, self.limits = self.limits, wanted
        existed = self.exists
        lenient = set(loose)
        try:
            for controller, why in self.missing().items():
                if controller not in lenient:
                    raise PlatformResourceError(
                        f"cannot limit {controller} of {self.name!r}: {why}",
                        remedy="delegate it to this process, use another adapter, or set best_effort = true",
                    )
            self._make()
            for controller, tree in self._trees().items():
                self._write(
                    f"{tree.base}/{self.name}", self._ordered(controller, tree), controller in lenient
                )
        except (PlatformResourceError, ValueError) as error:
            self.limits = before
            if not existed:
                self.remove()
            if isinstance(error, ValueError):
                raise PlatformResourceError(f"cannot limit {self.name!r}: {error}") from error
            raise

    def add(self, pid: int) -> None:
        """Move the process *pid* into the group; 0 is the caller's own.

        Raises:
            PlatformResourceError: the kernel refused, or *pid* is no single process.
        """
        if pid < 0 or pid == 1:
            raise PlatformResourceError(f"cannot limit process {pid}: it is no daemon")
        for path in self.paths:
            self._put(path, "cgroup.procs", str(pid))

    def members(self) -> list[int]:
        """Processes in the group, by the numbers this process knows them under."""
        found: set[int] = set()
        for path in self.paths:
            for word in (read_text(f"{path}/cgroup.procs") or "").split():
                if word.isdecimal() and int(word) > 1:
                    found.add(int(word))
        return sorted(found)

    def usage(self) -> Usage:
        """What it uses now."""
        trees = self._trees()

        def read(controller: str, file: str) -> str | None:
            tree = trees.get(controller)
            return None if tree is None else read_text(f"{tree.base}/{self.name}/{file}")

        return usage_of(read, lambda name: trees[name].version if name in trees else 0)

    def shown(self) -> dict[str, tuple[str, str]]:
        """File -> (what was written, what it shows now), of every limit."""
        found = {}
        for controller, tree in self._trees().items():
            for file, text in writes(self.limits, controller, tree.version):
                path = f"{tree.base}/{self.name}/{file}"
                found[file] = (text, limit_shown(file, read_text(path)))
        return found

    def freeze(self) -> None:
        """Hold every process of the group still, until `thaw`.

        Raises:
            PlatformResourceError: there is no freezer here, or it does not get them all within `FROZEN_WITHIN`.
        """
        self._hold_still(frozen=True)

    def thaw(self) -> None:
        """Let them run on.

        Raises:
            PlatformResourceError: as `freeze`.
        """
        self._hold_still(frozen=False)

    @property
    def frozen(self) -> bool:
        """Whether they are held still, all of them."""
        for version, folder in self._freezers():
            if version == 2:
                return "frozen 1" in (read_text(f"{folder}/cgroup.events") or "").splitlines()
            return (read_text(f"{folder}/freezer.state") or "").strip() == "FROZEN"
        return False

    def kill(self) -> None:
        """KILL every process in the group: by cgroup.kill where the kernel has it (Linux 5.14), else one by one until none is left."""
        for tree in self._trees().values():
            folder = f"{tree.base}/{self.name}"
            if tree.version == 2 and os.path.exists(f"{folder}/cgroup.kill"):
                self._put(folder, "cgroup.kill", "1")
                return
        for _ in range(ROUNDS):
            members = self.members()
            if not members:
                return
            for pid in members:
                self._kill_one(pid)
            for version, folder in self._freezers():
                if version == 1:  # what is frozen there ends only when it is let go
                    self._put(folder, "freezer.state", "THAWED")
            time.sleep(0.001)

    def remove(self) -> bool:
        """Remove the group; whether it is gone. One that still has processes stays.

        Raises:
            PlatformResourceError: the kernel refuses for another reason.
        """
        gone = True
        for path in self.paths:
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass  # never made, or removed before
            except OSError as error:
                if error.errno not in (errno.EBUSY, errno.ENOTEMPTY):
                    raise PlatformResourceError(f"cannot remove {path}: {error.strerror}") from error
                gone = False
        return gone

    # -- below ---------------------------------------------------------------------------------------------------------------

    def _freezers(self) -> list[tuple[int, str]]:
        """(version, folder) of what can hold the group still; version 2 before version 1."""
        trees = self._trees()
        unified = [tree for tree in trees.values() if tree.version == 2][:1]
        old = [trees[FREEZER]] if FREEZER in trees else []
        found = [(tree.version, f"{tree.base}/{self.name}") for tree in (*unified, *old)]
        return [(version, folder) for version, folder in found if os.path.isdir(folder)]

    def _hold_still(self, *, frozen: bool) -> None:
        found = self._freezers()
        if not found:
            raise PlatformResourceError(
                f"cannot freeze {self.name!r}: it has no group, or this host no freezer (cgroup v2, or the controller freezer)",
                remedy="apply limits first, to one that is made freezable=True; or stop its processes by signals",
            )
        version, folder = found[0]
        if version == 2:
            self._put(folder, "cgroup.freeze", "1" if frozen else "0")
        else:
            self._put(folder, "freezer.state", "FROZEN" if frozen else "THAWED")
        deadline = time.monotonic() + FROZEN_WITHIN
        while self.frozen is not frozen:
            if time.monotonic() > deadline:
                raise PlatformResourceError(
                    f"{self.name!r} is not {'frozen' if frozen else 'thawed'} within {FROZEN_WITHIN:g} s",
                    remedy="a process of it hangs in the kernel (state D): thaw it, and try again",
                )
            time.sleep(0.001)

    def _trees(self) -> dict[str, Hierarchy]:
        """The tree of each controller that can be had: all of them, so that usage is told where nothing is limited."""
        limited = self.limits.read_bps or self.limits.write_bps
        names = [name for name in (*CONTROLLERS, ACCOUNT, FREEZER) if name != "io" or limited]
        found = {name: self._view.home_of(name) for name in names if name != FREEZER or self.freezable}
        return {name: tree for name, tree in found.items() if tree is not None}

    def _make(self) -> None:
        for controller, tree in self._trees().items():
            if tree.version == 2:
                self._enable(controller, tree)
            path = f"{tree.base}/{self.name}"
            try:
                os.mkdir(path, 0o755)
            except FileExistsError:
                owner = os.stat(path).st_uid
                if owner not in (os.geteuid(), 0) or not os.access(path, os.W_OK):
                    raise PlatformResourceError(
                        f"cannot use the control group {path}: it is owned by user {owner}",
                        remedy="remove it, or use another name",
                    ) from None
            except OSError as error:
                raise self._refused(path, error) from error

    def _enable(self, controller: str, tree: Hierarchy) -> None:
        path = f"{tree.base}/cgroup.subtree_control"
        if controller not in (read_text(path) or "").split():
            self._put(tree.base, "cgroup.subtree_control", f"+{controller}")

    def _ordered(self, controller: str, tree: Hierarchy) -> Writes:
        """On version 1 memory alone can never be more than memory plus swap, so the one that grows is written last."""
        found = writes(self.limits, controller, tree.version)
        if controller == "memory" and tree.version == 1 and len(found) == 2:
            now = number(read_text(f"{tree.base}/{self.name}/memory.memsw.limit_in_bytes"))
            if now is not None and now < int(found[0][1]):
                found.reverse()
        return found

    def _write(self, folder: str, what: Writes, lenient: bool) -> None:
        for file, text in what:
            if file.startswith("memory.") and "sw" in file and not os.path.exists(f"{folder}/{file}"):
                if file == "memory.swap.max" and text == "0":
                    continue  # a kernel that counts no swap has none to give
                if lenient:
                    continue
                raise PlatformResourceError(
                    f"cannot limit swap of {self.name!r}: this kernel counts none (no {file})",
                    remedy="boot with swapaccount=1, or leave memory_swap_bytes out",
                )
            try:
                self._put(folder, file, text)
            except PlatformResourceError:
                if not lenient:
                    raise

    def _put(self, folder: str, file: str, text: str) -> None:
        try:
            with open(f"{folder}/{file}", "w", encoding="ascii") as out:
                out.write(text)
        except OSError as error:
            raise self._refused(f"{folder}/{file} {text!r}", error) from error

    def _refused(self, what: str, error: OSError) -> PlatformResourceError:
        remedies = {
            errno.EACCES: "run as root, or in a group that is delegated to this user (systemd: Delegate=yes)",
            errno.EPERM: "run as root, or in a group that is delegated to this user (systemd: Delegate=yes)",
            errno.EROFS: "mount the control groups writable in this container",
            errno.ENODEV: "name a whole disk that exists, as /dev/NAME",
            errno.ENOENT: "the kernel has no such limit here: leave it out, or set best_effort = true",
            errno.EINVAL: "the kernel takes no such value: use another",
            errno.EBUSY: "more is in use than the new limit allows, or the group's parent has processes of its own",
        }
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        return PlatformResourceError(
            f"cannot write {what}: {error.strerror} ({name})", remedy=remedies.get(error.errno or 0, "")
        )

    def _kill_one(self, pid: int) -> None:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return  # it has ended
        try:
            # The number is still that of a process of this group, now that it cannot be given to another.
            if pid in self.members():
                signal.pidfd_send_signal(fd, signal.SIGKILL)
        except OSError:
            pass  # it has ended
        finally:
            os.close(fd)
