"""What runtimes answered, as recorded, becomes the right values; anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.adapters.container import ctr_text, parse
from duende.adapters.container.cgroup import folders
from duende.adapters.container.engine import Happening, Runtime, State
from duende.errors import StatusFailedError
from duende.states import Phase, ProcessExit

CAPTURES = Path(__file__).parents[4] / "fixtures" / "captures"
API = ("docker-20.10.24", "podman-4.3.1")
ID = "0b7a3c52-0000-4000-8000-000000000001"


def capture(folder: str, name: str) -> bytes:
    """A recorded answer."""
    return (CAPTURES / folder / name).read_bytes()


@pytest.mark.parametrize("folder", API)
@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("inspect-created.json", Phase.CREATED),
        ("inspect-running.json", Phase.RUNNING),
        ("inspect-paused.json", Phase.PAUSED),
        ("inspect-exited.json", Phase.FAILED),
        ("inspect-killed.json", Phase.FAILED),
    ],
)
def test_states_as_recorded(folder: str, name: str, phase: Phase) -> None:
    """Each state of a real container is read as what it is, paused ones included."""
    state = parse.inspected(capture(folder, name))
    assert parse.status_of(state).phase is phase
    assert state.labels["duende.daemon.id"] == ID
    assert len(state.id) == 64
    assert bool(state.started_at) is (phase is not Phase.CREATED)
    assert state.alive is (phase in (Phase.RUNNING, Phase.PAUSED))
    assert (state.exit_code is None) is (phase is not Phase.FAILED)


@pytest.mark.parametrize("folder", API)
def test_exits_as_recorded(folder: str) -> None:
    """Code 7 is 7; 137 is a code, and KILL only where somebody knows."""
    assert parse.process_exit(parse.inspected(capture(folder, "inspect-exited.json"))).code == 7
    killed = parse.inspected(capture(folder, "inspect-killed.json"))
    assert parse.process_exit(killed).code == 137
    assert parse.process_exit(killed, sent=frozenset({9})).signal == 9
    assert parse.process_exit(killed, sent=frozenset({15})).code == 137
    memory = parse.process_exit(killed, out_of_memory=True)
    assert memory.signal == 9
    assert memory.oom
    told = parse.process_exit(killed, kernel=ProcessExit(code=137), sent=frozenset({9}))
    assert told.code == 137


@given(
    code=st.integers(0, 255),
    sent=st.frozensets(st.integers(1, 64)),
    memory=st.booleans(),
    kernel=st.sampled_from([None, 0, 3, -9, -11]),
)
def test_an_exit_is_never_guessed(code: int, sent: frozenset[int], memory: bool, kernel: int | None) -> None:
    """Either a code or a signal, the kernel's word first; a signal only where it was sent, or KILL for memory."""
    state = State(id="x", status="exited", exit_code=code)
    known = (
        None if kernel is None else ProcessExit(code=kernel) if kernel >= 0 else ProcessExit(signal=-kernel)
    )
    seen = parse.process_exit(state, kernel=known, out_of_memory=memory, sent=sent)
    assert (seen.code is None) is not (seen.signal is None)
    if known is not None:
        assert (seen.code, seen.signal) == (known.code, known.signal)
    elif seen.signal is not None:
        assert seen.signal == code - 128
        assert seen.signal in sent or (memory and seen.signal == 9)
    else:
        assert seen.code == code
    assert not seen.oom or (seen.signal == 9 and memory)


@pytest.mark.parametrize("folder", API)
def test_events_as_recorded(folder: str) -> None:
    """The life of a container is told in order, with its exit code; what is of no interest is left out."""
    lines = capture(folder, "events.jsonl").splitlines()
    found = [event for line in lines if (event := parse.event_of(line)) is not None]
    first = found[0].id
    mine = [event for event in found if event.id == first]
    happened = [event.what for event in mine if event.what not in (Happening.HEALTHY, Happening.UNHEALTHY)]
    assert happened == [
        Happening.STARTED,
        Happening.PAUSED,
        Happening.UNPAUSED,
        Happening.DIED,
        Happening.REMOVED,
    ]
    assert next(event.exit_code for event in mine if event.what is Happening.DIED) == 7
    assert all(event.at for event in found)
    assert sorted(found, key=lambda event: event.at) == found


def test_health_as_recorded() -> None:
    """Docker's verdict on health is an event of its own."""
    found = [parse.event_of(line) for line in capture("docker-20.10.24", "events.jsonl").splitlines()]
    assert any(event is not None and event.what is Happening.HEALTHY for event in found)


@pytest.mark.parametrize(("folder", "runtime"), [(API[0], Runtime.DOCKER), (API[1], Runtime.PODMAN)])
def test_facts_as_recorded(folder: str, runtime: Runtime) -> None:
    """Docker and Podman are told apart by what they say of themselves, and what the kernel cannot limit is noted."""
    version, info = json.loads(capture(folder, "version.json")), json.loads(capture(folder, "info.json"))
    facts = parse.facts_of(version, info)
    assert facts.runtime is runtime
    assert folder.endswith(facts.version.partition("+")[0])
    assert facts.api == "1.41"
    assert not facts.missing
    assert parse.facts_of(version, {**info, "SwapLimit": False}).missing == {"resources.memory_swap_bytes"}


@pytest.mark.parametrize("folder", API)
def test_output_as_recorded(folder: str) -> None:
    """Frames of both streams become lines in their order."""
    assert sorted(parse.lines_of(capture(folder, "logs.bin"))) == ["err", "out"]


@given(
    lines=st.lists(st.binary(max_size=30).filter(lambda raw: b"\n" not in raw)),
    cuts=st.lists(st.integers(1, 9)),
)
def test_frames_survive_any_cut(lines: list[bytes], cuts: list[int]) -> None:
    """However output is cut into pieces on its way, its text is the same."""
    raw = b"".join(
        bytes([1 + at % 2, 0, 0, 0]) + (len(each) + 1).to_bytes(4, "big") + each + b"\n"
        for at, each in enumerate(lines)
    )
    frames, found, position = parse.Demultiplexer(), b"", 0
    for size in [*cuts, len(raw)]:
        found += b"".join(frames.feed(raw[position : position + size]))
        position += size
    assert found == b"".join(each + b"\n" for each in lines)


GARBAGE: list[Any] = [
    b"",
    b"{}",
    b"[]",
    b"<html>",
    b'{"Id": 7, "State": {}}',
    b'{"Id": "x", "State": "running"}',
    b'"State"',
    b"\xff\xfe",
]


@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_is_refused(raw: bytes) -> None:
    """No half-understood answer becomes a status."""
    with pytest.raises(StatusFailedError):
        parse.inspected(raw)
    with pytest.raises(StatusFailedError):
        parse.event_of(raw)
    with pytest.raises(StatusFailedError):
        ctr_text.tasks_of(raw.decode(errors="replace"))
    with pytest.raises(StatusFailedError):
        ctr_text.info_of(raw.decode(errors="replace"))


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    """Whatever comes, it is a value or a StatusFailedError."""
    for read in (
        parse.inspected,
        parse.event_of,
        parse.lines_of,
        lambda data: ctr_text.event_of(data, "duende"),
    ):
        try:
            read(raw)
        except StatusFailedError:
            continue


def test_an_unknown_state_is_refused() -> None:
    """A state that nobody here knows is an error, not a guess."""
    with pytest.raises(StatusFailedError, match="hovering"):
        parse.status_of(State(id="x" * 64, status="hovering"))


@pytest.mark.parametrize(
    ("name", "status"),
    [("tasks-running.txt", "running"), ("tasks-paused.txt", "paused"), ("tasks-stopped.txt", "exited")],
)
def test_tasks_of_containerd_as_recorded(name: str, status: str) -> None:
    """The table of tasks is read by its whole form."""
    found = ctr_text.tasks_of(capture("containerd-1.6.20", name).decode())
    assert list(found) == ["duende-web-0b7a3c52"]
    pid, said = found["duende-web-0b7a3c52"]
    assert pid > 1
    assert said == status


def test_containerd_as_recorded() -> None:
    """Container, exit, version and events of containerd are read as they are."""
    folder = "containerd-1.6.20"
    info = ctr_text.info_of(capture(folder, "info.json").decode())
    running = ctr_text.state_of(info, (4711, "running"))
    assert parse.status_of(running).phase is Phase.RUNNING
    assert running.started_at
    assert parse.status_of(ctr_text.state_of(info, None)).phase is Phase.CREATED
    ended = ctr_text.state_of({**info, "Labels": {ctr_text.LABEL_EXIT: "7"}}, None)
    assert parse.process_exit(ended).code == 7
    assert ctr_text.exit_in("duende-web-0b7a3c52", capture(folder, "task-rm-stderr.txt").decode()) == 7
    assert ctr_text.exit_in("duende-web-0b7a3c52", "") == 0
    assert ctr_text.version_of(capture(folder, "version.txt").decode()).startswith("1.6.20")
    lines = capture(folder, "events.txt").splitlines()
    found = [event for line in lines if (event := ctr_text.event_of(line, "duende")) is not None]
    assert [event.what for event in found] == [
        Happening.STARTED,
        Happening.PAUSED,
        Happening.UNPAUSED,
        Happening.DIED,
        Happening.REMOVED,
    ]
    assert found[3].exit_code == 7
    assert all(ctr_text.event_of(line, "moby") is None for line in lines)


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1", "docker.io/library/busybox:1"),
        ("me/app", "docker.io/me/app:latest"),
        ("localhost/app:2", "localhost/app:2"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("ghcr.io/a/b@sha256:00", "ghcr.io/a/b@sha256:00"),
    ],
)
def test_references(image: str, full: str) -> None:
    """Names of images are completed as Docker completes them."""
    assert ctr_text.reference(image) == full
    assert ctr_text.reference(full) == full


@pytest.mark.parametrize("folder", API)
def test_a_missing_program_as_recorded(folder: str) -> None:
    """The runtime's own words about a missing program become a SpawnError with errno and remedy."""
    message = json.loads(capture(folder, "error-no-program.json"))["message"]
    error = parse.spawn_error("web", "/nope", message)
    assert (error.errno, error.step, error.path) == (2, "exec", "/nope")
    assert "binary_path" in error.remedy


V1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:net_cls:/\n0::/\n"
V1_MOUNTS = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


def test_where_control_groups_are() -> None:
    """Groups named after the container are found on version 1, hybrid and version 2; others are not ours."""
    assert folders(V1, V1_MOUNTS, "abc") == {
        "memory": "/sys/fs/cgroup/memory/docker/abc",
        "cpu": "/sys/fs/cgroup/cpu/docker/abc",
        "cpuacct": "/sys/fs/cgroup/cpu/docker/abc",
    }
    assert folders("0::/system.slice/docker-abc.scope\n", V2_MOUNTS, "abc") == {
        "": "/sys/fs/cgroup/system.slice/docker-abc.scope"
    }
    assert folders("0::/user.slice\n", V2_MOUNTS, "abc") == {}
    inside = "30 23 0:26 /docker /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert folders("0::/docker/abc\n", inside, "abc") == {"": "/sys/fs/cgroup/abc"}
