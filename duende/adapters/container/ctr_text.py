"""What `ctr` 1.6 prints, read strictly: JSON where it has JSON, tables and lines by their whole form elsewhere. Pure."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from duende.adapters.container.engine import Event, Happening, State
from duende.errors import StatusFailedError

LABEL_EXIT = "duende.exit"
"""Exit code of the task, kept on the container: containerd forgets it with the task."""
LABEL_LOG = "duende.log"
"""The file that the output goes to."""
STATUSES = {
    "CREATED": "created",
    "RUNNING": "running",
    "PAUSED": "paused",
    "PAUSING": "running",
    "STOPPED": "exited",
    "UNKNOWN": "dead",
}
"""cmd/ctr/commands/tasks/list.go prints the names of the task API's Status."""
_ROW = re.compile(r"(?P<id>\S+)\s+(?P<pid>\d+)\s+(?P<status>[A-Z]+)\s*")
_EVENT = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \+0000 UTC (?P<namespace>\S+) (?P<topic>/\S+) (?P<body>\{.*\})\s*"
)
_EXIT = re.compile(
    r'time="[^"]*" level=warning msg="task (?P<id>\S+) exit with non-zero exit code (?P<code>\d+)"'
)
_TOPICS = {
    b"/tasks/start": Happening.STARTED,
    b"/tasks/exit": Happening.DIED,
    b"/tasks/oom": Happening.OOM,
    b"/tasks/paused": Happening.PAUSED,
    b"/tasks/resumed": Happening.UNPAUSED,
    b"/containers/delete": Happening.REMOVED,
}


def tasks_of(text: str) -> dict[str, tuple[int, str]]:
    """`ctr task ls`: container -> (pid, status in our words).

    Raises:
        StatusFailedError: it is no such table.
    """
    lines = text.splitlines()
    if not lines or lines[0].split() != ["TASK", "PID", "STATUS"]:
        raise StatusFailedError(f"cannot read {text[:120]!r} as the tasks of containerd")
    found: dict[str, tuple[int, str]] = {}
    for line in lines[1:]:
        row = _ROW.fullmatch(line)
        if row is None or row["status"] not in STATUSES:
            raise StatusFailedError(f"cannot read {line[:120]!r} as a task of containerd")
        found[row["id"]] = (int(row["pid"]), STATUSES[row["status"]])
    return found


def info_of(text: str) -> dict[str, Any]:
    """`ctr containers info`.

    Raises:
        StatusFailedError: it is no container.
    """
    try:
        found = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise StatusFailedError(f"cannot read {text[:120]!r} as a container of containerd") from error
    if not isinstance(found.get("ID"), str):
        raise StatusFailedError(f"cannot read {text[:120]!r} as a container of containerd: it has no ID")
    return found


def state_of(info: dict[str, Any], task: tuple[int, str] | None) -> State:
    """A container and its task, which is gone once its exit was collected."""
    labels = {str(key): str(value) for key, value in (info.get("Labels") or {}).items()}
    code = labels.get(LABEL_EXIT, "")
    pid, status = task if task is not None else (0, "exited" if code else "created")
    return State(
        id=info["ID"],
        name=info["ID"],
        status=status,
        paused=status == "paused",
        running=status in ("running", "paused"),
        dead=status == "dead",
        pid=pid if status in ("running", "paused") else 0,
        exit_code=int(code) if code.isdecimal() and status == "exited" else None,
        started_at=str(info.get("CreatedAt") or ""),
        labels=labels,
    )


def exit_in(container: str, stderr: str) -> int:
    """The exit code that `ctr task rm` says: a warning for one that is not zero, nothing for zero."""
    for line in stderr.splitlines():
        found = _EXIT.fullmatch(line.strip())
        if found is not None and found["id"] == container:
            return int(found["code"])
    return 0


def event_of(line: bytes, namespace: str) -> Event | None:
    """One line of `ctr events`; None for what is of no interest.

    Raises:
        StatusFailedError: it is no event.
    """
    found = _EVENT.fullmatch(line)
    if found is None:
        raise StatusFailedError(f"cannot read {line[:120]!r} as an event of containerd")
    what = _TOPICS.get(found["topic"])
    if what is None or found["namespace"] != namespace.encode():
        return None
    try:
        body = msgspec.json.decode(found["body"], type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise StatusFailedError(f"cannot read {line[:120]!r} as an event of containerd") from error
    container = str(body.get("container_id") or body.get("id") or "")
    if what is Happening.DIED and body.get("id") not in (None, container):
        return None  # the end of a program that was run inside
    code = body.get("exit_status", 0) if what is Happening.DIED else None
    return Event(what=what, id=container, exit_code=code, pid=int(body.get("pid") or 0))


def version_of(text: str) -> str:
    """The server's version in `ctr version`.

    Raises:
        StatusFailedError: it does not say.
    """
    _, server, rest = text.partition("\nServer:\n")
    found = re.search(r"^\s+Version:\s+(\S+)$", rest, re.MULTILINE)
    if not server or found is None:
        raise StatusFailedError(f"cannot read {text[:120]!r} as the version of containerd")
    return found.group(1)


def reference(image: str) -> str:
    """The full name of an image, as Docker completes it: containerd does not."""
    first, slash, _ = image.partition("/")
    named = bool(slash) and ("." in first or ":" in first or first == "localhost")
    full = image if named else f"docker.io/{image if slash else f'library/{image}'}"
    tail = full.rsplit("/", 1)[-1]
    return full if ":" in tail or "@" in tail else f"{full}:latest"
