"""What the kernel and strace say, read: pages of the ring buffer, and lines of text."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duende.errors import SerializationError
from duende.observe.trace.call import Call, error_name, name_of, names
from duende.observe.trace.page import ENTERS, FORKS, LEAVES, Event, Ids, event_id, offset_of, parse
from duende.observe.trace.pairing import Pairing
from duende.observe.trace.strace import Parser

IDS = Ids(443, 442, 300, 24, 44)
FORMAT = """name: sys_enter
ID: 443
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:long id;	offset:8;	size:8;	signed:1;
	field:unsigned long args[6];	offset:16;	size:48;	signed:0;
"""


def entry(event: Event, delta: int) -> bytes:
    """An event as the kernel writes it."""
    _, kind, tid, number, first, second = event
    if kind == ENTERS:
        body = struct.pack("<HHiqQQ4Q", IDS.enter, 0, tid, number, first, second, 0, 0, 0, 0)
    elif kind == LEAVES:
        body = struct.pack("<HHiqq", IDS.leave, 0, tid, number, first)
    else:
        body = struct.pack("<HHi16sI16sI", IDS.fork, 0, tid, b"parent", tid, b"child", number)
    return struct.pack("<I", delta << 5 | len(body) // 4) + body


def paged(events: list[Event], *, lost: int = 0, junk: bytes = b"") -> bytes:
    """A page with them; times beyond 27 bits by an extension."""
    at = events[0][0] if events else 0
    data, began = b"", at
    for event in events:
        delta = event[0] - at
        if delta >= 1 << 27:
            data += struct.pack("<II", (delta & ((1 << 27) - 1)) << 5 | 30, delta >> 27)
            delta = 0
        data += entry(event, delta)
        at = event[0]
    data += junk
    commit = len(data) | ((1 << 31 | 1 << 30) if lost else 0)
    return struct.pack("<QQ", began, commit) + data + (struct.pack("<q", lost) if lost else b"")


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 1 << 40),
        st.sampled_from([ENTERS, LEAVES, FORKS]),
        st.integers(2, 1 << 22),
        st.integers(0, 460),
        st.integers(0, 1 << 40),
        st.just(0),
    ),
    max_size=40,
).map(sorted)


@given(events=EVENTS, lost=st.integers(0, 9))
def test_a_page_reads_back(events: list[Event], lost: int) -> None:
    """Every event, and what was lost before it."""
    read = parse(paged(events, lost=lost), IDS)
    wanted = [event if event[1] != FORKS else (*event[:4], 0, 0) for event in events]
    assert read.events == wanted
    assert read.lost == lost


@given(data=st.binary(max_size=300))
def test_nonsense_is_refused(data: bytes) -> None:
    """Or read as nothing: never anything but an error of ours."""
    try:
        parse(data, IDS)
    except SerializationError:
        pass  # what is wanted


@given(events=EVENTS.filter(bool), cut=st.integers(0, 4000))
def test_a_cut_page_is_refused(events: list[Event], cut: int) -> None:
    """It says how long it is."""
    page = paged(events)
    if cut < len(page):
        with pytest.raises(SerializationError):
            parse(page[:cut], IDS)


def test_other_entries() -> None:
    """Time stamps, padding, long and unknown events are stepped over."""
    event: Event = (1 << 20, ENTERS, 7, 39, 1, 2)
    stamp = struct.pack("<II", 5 << 5 | 31, 3)
    padding = struct.pack("<II", 1 << 5 | 29, 8) + bytes(4)
    long = struct.pack("<II", 0, 12) + struct.pack("<HHi", 9, 0, 0)
    page = struct.pack("<QQ", 0, 0) + stamp + padding + long + entry(event, 4) + struct.pack("<I", 29)
    page = struct.pack("<QQ", 0, len(page) - 16) + page[16:]
    assert parse(page, IDS).events == [((3 << 27) + 5 + 4, *event[1:])]


def test_the_formats_of_events() -> None:
    """Are looked at before anything is read by them."""
    assert event_id(FORMAT, "sys_enter", (("common_pid", 4, 4), ("args", 16, 48))) == 443
    assert offset_of(FORMAT, "common_pid") == 4
    with pytest.raises(SerializationError, match="elsewhere"):
        event_id(FORMAT, "sys_enter", (("id", 12, 8),))
    with pytest.raises(SerializationError, match="no ID"):
        event_id("", "sys_enter", ())
    with pytest.raises(SerializationError, match="child_pid"):
        offset_of(FORMAT, "child_pid")


def test_calls_of_followed_threads_and_their_children() -> None:
    """Strangers are left out; an end without a begin is counted; what is later waits."""
    pairing = Pairing([10])
    events: list[Event] = [
        (1, LEAVES, 10, 5, 0, 0),
        (2, ENTERS, 10, 0, 3, 4),
        (3, ENTERS, 99, 0, 0, 0),
        (4, LEAVES, 99, 0, 0, 0),
        (9, LEAVES, 10, 0, -11, 0),
        (10, FORKS, 10, 11, 0, 0),
        (12, ENTERS, 11, 1, 0, 0),
        (20, LEAVES, 11, 1, 7, 0),
        (30, ENTERS, 10, 2, 0, 0),
    ]
    assert list(pairing.calls(events, 15)) == [Call(2, 10, 0, 7, -11, 3, 4)]
    assert list(pairing.calls([(31, LEAVES, 10, 2, 0, 0)], 100)) == [
        Call(12, 11, 1, 8, 7, 0, 0),
        Call(30, 10, 2, 1, 0, 0, 0),
    ]
    assert (pairing.unmatched, pairing.foreign) == (1, 2)


LINES = """[pid  3476] 1795729831.658810 brk(0 <unfinished ...>
[pid  3435] 1795729831.659074 wait4(0xd94, 0x7ffd190d0188, 0, 0 <unfinished ...>
[pid  3476] 1795729831.658905 <... brk resumed>) = 0x5618be224000 <0.000072>
[pid  3476] 1795729831.659182 access(0x7f3fd50d22a0, 0x4) = -1 ENOENT (No such file or directory) <0.000013>
[pid  3476] 1795729831.700000 poll(0x7f, 0x1, 0x64) = ? ERESTART_RESTARTBLOCK (Interrupted by signal) <0.1>
strace: Process 3477 attached
[pid  3476] 1795729831.661943 exit_group(0) = ?
[pid  3476] +++ exited with 0 +++
1795729831.662952 <... wait4 resumed>)  = 0xd94 <0.003853>
1795729832.000000 nosuchcall(0x1) = 0 <0.000001>
1795729832.000001 write(0x1, 0x7f, 0x2) = 0x2 <0.000004>"""


def test_lines_of_strace() -> None:
    """Whole ones, halves put together, errors; what is no call is none."""
    parser = Parser(-1795729831.0)
    found = [call for line in LINES.splitlines() if (call := parser.call(line, 3435)) is not None]
    assert [(call.tid, name_of(call.number), call.duration) for call in found] == [
        (3476, "brk", 72_000),
        (3476, "access", 13_000),
        (3435, "wait4", 3_853_000),
        (3435, "write", 4_000),
    ]
    assert found[0].result == 0x5618BE224000
    assert found[1].error == errno.ENOENT
    assert (found[3].first, found[3].second, found[3].result) == (1, 0x7F, 2)


@given(line=st.text(max_size=200))
def test_any_line(line: str) -> None:
    """Is a call or none."""
    assert Parser().call(line) is None or "(" in line or "resumed" in line


def test_names() -> None:
    """Of both machines, of calls too new for the table, of errors."""
    assert (names("x86_64")[0], names("aarch64")[63], name_of(9999)) == ("read", "read", "syscall_9999")
    assert (error_name(11), error_name(9999)) == ("EAGAIN", "errno 9999")
    assert Call(0, 1, 0, 1, -512, 0, 0).error == 0
    assert Call(0, 1, 0, 1, -2, 0, 0).error == 2
    assert Call(0, 1, 0, 1, -5000, 0, 0).error == 0
