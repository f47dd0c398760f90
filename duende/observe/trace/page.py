"""Pages of the kernel's ring buffer (trace_pipe_raw), parsed: linux/ring_buffer.h and the file events/header_page of tracefs."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from duende.errors import SerializationError

HEAD = struct.Struct("<QQ")
"""Time of the first event, and how many bytes of events follow."""
SIZE_MASK = (1 << 20) - 1
MISSED = 1 << 31
"""In the second word: events before this page were lost. The count, where bit 30 says that there is one, stands behind the events."""
MISSED_COUNTED = 1 << 30
PADDING, EXTEND, STAMP = 29, 30, 31
"""Kinds of entries that are no events."""
DELTA_BITS = 27
WORD = struct.Struct("<I")
ENTER = struct.Struct("<HHiqQQ")
"""Type, flags, thread, number, and the first two arguments."""
EXIT = struct.Struct("<HHiqq")
COMMON = struct.Struct("<H")
COUNT = struct.Struct("<q")

LEAVES, ENTERS, FORKS = 0, 1, 2
Event = tuple[int, int, int, int, int, int]
"""Time in ns, what it is (one of those above), thread, number of the call (of a fork: the new thread), first argument or result, second
argument or 0.
"""


class Ids(NamedTuple):
    """The numbers of the events, and where those of a fork are in theirs."""

    enter: int
    leave: int
    fork: int
    parent: int
    child: int


class Read(NamedTuple):
    """What a page says."""

    events: list[Event]
    lost: int
    """Events lost before it; at least one where the kernel did not count."""


def event_id(text: str, name: str, fields: tuple[tuple[str, int, int], ...]) -> int:
    """The number of an event, from its file `format`, whose *fields* (name, offset, size) must be where this parser looks for them.

    Raises:
        SerializationError: a kernel has them elsewhere.
    """
    found = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
    if found is None:
        raise SerializationError(f"the format of {name} has no ID")
    for field, offset, size in fields:
        if re.search(rf"\b{field}(?:\[\d+\])?;\s*offset:{offset};\s*size:{size};", text) is None:
            raise SerializationError(
                f"this kernel has the field {field} of {name} elsewhere", remedy="strace is used instead"
            )
    return int(found[1])


ENTER_FIELDS = (("common_type", 0, 2), ("common_pid", 4, 4), ("id", 8, 8), ("args", 16, 48))
EXIT_FIELDS = (("common_type", 0, 2), ("common_pid", 4, 4), ("id", 8, 8), ("ret", 16, 8))


def offset_of(text: str, field: str) -> int:
    """Where a number of four bytes is in an event.

    Raises:
        SerializationError: it has none of that name.
    """
    found = re.search(rf"\b{field};\s*offset:(\d+);\s*size:4;", text)
    if found is None:
        raise SerializationError(f"an event has no {field} of four bytes", remedy="strace is used instead")
    return int(found[1])


def parse(page: bytes, ids: Ids) -> Read:
    """The begins and ends of calls, and the forks, in a page.

    Raises:
        SerializationError: it is no page of a ring buffer.
    """
    if len(page) < HEAD.size:
        raise SerializationError(f"a page of {len(page)} bytes has no head")
    at, commit = HEAD.unpack_from(page)
    end = HEAD.size + (commit & SIZE_MASK)
    if end > len(page):
        raise SerializationError(f"a page of {len(page)} bytes says that it has {end}")
    enter, leave = ids.enter, ids.leave
    lost = 0
    if commit & MISSED:
        counted = commit & MISSED_COUNTED and end + COUNT.size <= len(page)
        lost = max(1, COUNT.unpack_from(page, end)[0]) if counted else 1
    events: list[Event] = []
    place = HEAD.size
    try:
        while place < end:
            (word,) = WORD.unpack_from(page, place)
            kind, delta = word & 31, word >> 5
            place += 4
            if kind == PADDING:
                if delta == 0:
                    break  # the rest of the page is empty
                place += WORD.unpack_from(page, place)[0]
                continue
            if kind >= EXTEND:
                high = WORD.unpack_from(page, place)[0] << DELTA_BITS
                # A time stamp replaces the time but for its highest bits, which it has no room for.
                at = at + delta + high if kind == EXTEND else (at & ~((1 << 59) - 1)) | high | delta
                place += 4
                continue
            at += delta
            begin = place
            if kind == 0:  # a long event: its length stands in the next word, which it includes
                begin = place + 4
                place += WORD.unpack_from(page, place)[0]
            else:
                place += kind << 2
            if place > end or place <= begin:
                raise SerializationError(f"an event at byte {begin} ends behind its page")
            (type_,) = COMMON.unpack_from(page, begin)
            if type_ == enter:
                _, _, tid, number, first, second = ENTER.unpack_from(page, begin)
                events.append((at, ENTERS, tid, number, first, second))
            elif type_ == leave:
                _, _, tid, number, result = EXIT.unpack_from(page, begin)
                events.append((at, LEAVES, tid, number, result, 0))
            elif type_ == ids.fork:
                parent, child = (WORD.unpack_from(page, begin + each)[0] for each in (ids.parent, ids.child))
                events.append((at, FORKS, parent, child, 0, 0))
    except struct.error as error:
        raise SerializationError(f"a page ends within an event: {error}") from error
    return Read(events, lost)
