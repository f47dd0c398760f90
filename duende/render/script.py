"""An install script: POSIX sh, to be run as root as often as one likes. What is in place is left alone, and its output is always the same.

It makes the user and the folders, writes the unit and what the daemon needs beside it, and has systemd run it, where systemd runs.
Nothing in it depends on when or where it was written: the same configuration gives the same bytes.
"""

from __future__ import annotations

import os
import shlex

from duende.config.model import DaemonConfig
from duende.render.bundle import PYTHON, Bundle, bundle_of
from duende.render.unit import unit_of
from duende.render.written import Rendered, head

UNIT_DIR = "/etc/systemd/system"
_SHELL = """\
set -eu
LC_ALL=C
export LC_ALL
umask 022

program=@program@
unit=@unit@
changed=0

say() {
  printf '%s: %s\\n' "$program" "$1"
}

die() {
  printf '%s: %s\\n' "$program" "$1" >&2
  exit 1
}

# put PATH MODE GROUP: make the standard input the file PATH of root, unless it is that already. Written beside it and
# renamed: whoever reads PATH meanwhile finds the old file or the new one, whole.
put() {
  text=$(cat; printf .)
  text=${text%.}
  if [ -f "$1" ] && [ ! -h "$1" ] && printf '%s' "$text" | cmp -s - "$1"; then
    if [ -z "$(find "$1" -prune -perm "$2" -user 0 -group "$3")" ]; then
      chown "0:$3" "$1"
      chmod "$2" "$1"
    fi
  else
    rm -f "$1.new"
    (umask 077; printf '%s' "$text" >"$1.new")
    chown "0:$3" "$1.new"
    chmod "$2" "$1.new"
    mv -f "$1.new" "$1"
    changed=1
  fi
  say "file $1: in place"
}

# folder PATH [OWNER]: make a folder that is not there; one that is there keeps its owner and mode.
folder() {
  if [ ! -d "$1" ]; then
    mkdir -p "$1"
    if [ -n "${2-}" ]; then
      chown "$2" "$1"
    fi
  fi
  say "folder $1: in place"
}

has() {
  command -v "$1" >/dev/null 2>&1
}

systemd_runs() {
  [ -d /run/systemd/system ] && has systemctl
}

[ "$(id -u)" = 0 ] || die 'it makes users, folders and services: run it as root'
"""
_GROUP = """\
# group NAME: a system group. Without getent(1) its file is read.
group_exists() {
  if has getent; then
    getent group "$1" >/dev/null
  else
    grep -q "^$1:" /etc/group
  fi
}

group() {
  if ! group_exists "$1"; then
    if has groupadd; then
      groupadd --system "$1"
    elif has addgroup; then
      addgroup -S "$1"
    else
      die "cannot make the group $1: neither groupadd nor addgroup is here"
    fi
  fi
  say "group $1: in place"
}
"""
_USER = """\
# user NAME GROUP: a system user who cannot log in.
user() {
  if ! id -u "$1" >/dev/null 2>&1; then
    if has useradd; then
      useradd --system --gid "$2" --no-create-home --home-dir /nonexistent --shell /bin/false "$1"
    elif has adduser; then
      adduser -S -D -H -h /nonexistent -s /bin/false -G "$2" "$1"
    else
      die "cannot make the user $1: neither useradd nor adduser is here"
    fi
  fi
  say "user $1: in place"
}
"""
_UNINSTALL = """\
if [ "${1-}" = --uninstall ]; then
  if systemd_runs && [ -f "@unit_path@" ]; then
    systemctl disable --now --quiet "$unit"
  fi
  rm -f @files@
  if systemd_runs; then
    systemctl daemon-reload
  fi
  say 'removed; its user, folders and data are left'
  exit 0
fi
[ "$#" = 0 ] || die "usage: $0 [--uninstall]"
"""
_SERVICE = """\
if systemd_runs; then
  # Asked of systemd, so that a run that was cut off after the file was written is made good by the next.
  if [ "$(systemctl show --property=NeedDaemonReload --value "$unit")" = yes ]; then
    changed=1
  fi
  if [ "$changed" = 1 ]; then
    systemctl daemon-reload
  fi
  systemctl is-enabled --quiet "$unit" || systemctl enable --quiet "$unit"
  if ! systemctl is-active --quiet "$unit"; then
    systemctl start "$unit"
  elif [ "$changed" = 1 ]; then
    systemctl restart "$unit"
  fi
  say "service $unit: enabled and started"
else
  say "service $unit: in place; systemd does not run here, so nothing was started"
fi
"""


def install_script(config: DaemonConfig, *, python: str = PYTHON) -> Rendered:
    """The script for *config*; a class in a file travels inside it.

    Raises:
        ConfigError: nothing says what to run.
        PlatformConfigError: something was asked for that systemd would not do, and `best_effort` is not set.
    """
    bundle = bundle_of(config, python=python)
    unit = unit_of(bundle.config, bundle)
    unit_path = f"{UNIT_DIR}/{unit.filename}"
    # What it is configured with may hold secrets: its own group reads it, and nobody else.
    mode = f"0640 {literal(_group_of(config))}"
    files = [*((path, text, mode) for path, text in bundle.files), (unit_path, unit.text, "0644 0")]
    body = _SHELL.replace("@program@", literal(f"install-{config.name}")).replace("@unit@", unit.filename)
    parts = [
        "#!/bin/sh\n" + head(config, "install-sh", unit.notes) + "#\n# usage: sh FILE [--uninstall]\n" + body,
        _uninstall(unit_path, [path for path, _, _ in files]),
        *_identity(config),
        _requirement(config, bundle, python),
        _folders(config, [path for path, _, _ in files]),
        *(_file(path, text, mode) for path, text, mode in files),
        _SERVICE,
    ]
    return Rendered(
        filename=f"install-{config.name}.sh",
        text="\n".join(part for part in parts if part),
        notes=unit.notes,
        executable=True,
    )


def literal(word: str) -> str:
    """*word* as one word of a shell that means nothing but itself (XCU 2.2). Where it holds `$` or a backtick it stands in double quotes:
    in single ones a reader, and shellcheck (SC2016), would wonder whether it was meant to expand.
    """
    if not set(word) & set("$`"):
        return shlex.quote(word)
    return '"' + "".join("\\" + char if char in '\\"$`' else char for char in word) + '"'


def _uninstall(unit_path: str, files: list[str]) -> str:
    shown = " ".join(literal(path) for path in files)
    return _UNINSTALL.replace("@unit_path@", unit_path).replace("@files@", shown)


def _identity(config: DaemonConfig) -> list[str]:
    user = config.user if config.user not in (None, "root") and not config.user.isdecimal() else None
    named = [config.group if config.group is not None else user, *config.security.supplementary_groups]
    groups = [name for name in dict.fromkeys(named) if name and name != "root" and not name.isdecimal()]
    parts = [_GROUP + "".join(f"group {literal(name)}\n" for name in groups)] if groups else []
    if user is not None:
        first = config.group if config.group is not None else user
        parts.append(_USER + f"user {literal(user)} {literal(first)}\n")
    return parts


def _requirement(config: DaemonConfig, bundle: Bundle, python: str) -> str:
    """What must be there before anything is changed."""
    if config.daemon is None:
        program = literal(bundle.argv[0])
        return f"has {program} || die {literal(f'{bundle.argv[0]} is not here, or cannot be executed: install it first')}\n"
    modules = ", ".join(filter(None, ("duende", bundle.module)))
    test = literal(f"import {modules}")
    why = literal(f"{python} cannot import {modules}: install it there first (python -m pip install duende)")
    return f"{literal(python)} -c {test} 2>/dev/null || die {why}\n"


def _group_of(config: DaemonConfig) -> str:
    """The group the daemon has: its own, or that of its user's name, which the script makes."""
    if config.group is not None:
        return config.group
    return config.user if config.user is not None and not config.user.isdecimal() else "0"


def _folders(config: DaemonConfig, files: list[str]) -> str:
    owner = f"{config.user or 0}:{_group_of(config)}" if config.user or config.group else ""
    theirs = [config.working_dir, *config.security.writable_paths]
    if config.logging.path is not None:
        theirs.append(os.path.dirname(config.logging.path))
    lines = [f"folder {literal(path)}" for path in dict.fromkeys(os.path.dirname(path) for path in files)]
    own = [path for path in dict.fromkeys(theirs) if path and os.path.isabs(path) and path != "/"]
    lines += [" ".join(("folder", literal(path), *filter(None, (owner and literal(owner),)))) for path in own]
    return "".join(f"{line}\n" for line in lines)


def _file(path: str, text: str, mode: str) -> str:
    mark = "END"
    while mark in text.split("\n"):
        mark += "_"
    return f"put {literal(path)} {mode} <<'{mark}'\n{text}{mark}\n"
