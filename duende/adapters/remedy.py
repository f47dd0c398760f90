"""Commands that would make a platform usable, for the machine at hand: pure functions of a few facts about it."""

from __future__ import annotations

import os
import shutil

import msgspec

NATIVE = "the native adapter instead: duende manager --adapter native"
"""What runs daemons on any Linux."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which command helps."""

    root: bool
    booted: bool
    """systemd is PID 1 (sd_booted(3))."""
    apt: bool
    """Packages come through apt-get."""
    user: str = ""
    """Name of the user."""

    @classmethod
    def here(cls) -> Host:
        """This machine, this user."""
        import pwd

        uid = os.geteuid()
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = str(uid)  # a number without a name, as in many containers
        return cls(
            root=uid == 0,
            booted=os.path.isdir("/run/systemd/system"),
            apt=shutil.which("apt-get") is not None,
            user=user,
        )

    def as_root(self, command: str) -> str:
        """The command, for somebody who is not root too."""
        return command if self.root else f"sudo {command}"

    def install(self, *packages: str) -> str:
        """The command that installs Debian packages; in words where packages come in another way."""
        if not self.apt:
            return f"install {' '.join(packages)}"
        return self.as_root(f"apt-get install -y {' '.join(packages)}")


def steps(*commands: str) -> str:
    """One line for several commands, of which each needs the one before."""
    return " && ".join(each for each in commands if each)
