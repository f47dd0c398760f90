"""What is fuzzed: each takes any bytes, and raises only what it says that it raises."""

from __future__ import annotations

from collections.abc import Callable

from duende.errors import SerializationError, TraceContextError
from duende.observe import procfs
from duende.observe.trace.page import Ids, parse
from duende.observe.trace.strace import Parser
from duende.observe.tracecontext import TraceContext, parse_tracestate
from duende.state.codec import Packed, unpack
from duende.state.frames import LOG, SNAPSHOT, frame, header, scan

IDS = Ids(443, 442, 300, 24, 44)


def proc(data: bytes) -> None:
    """/proc/<pid>/stat, statm, io, status and smaps_rollup."""
    procfs.parse_stat(data)
    procfs.parse_statm(data)
    procfs.parse_io(data)
    procfs.parse_switches(data)
    procfs.parse_pss(data)


def traceparent(data: bytes) -> None:
    """W3C Trace Context: what is read is written as it is read again."""
    first, _, second = data.decode("latin-1").partition("\n")
    try:
        found = TraceContext.parse(first, second)
    except TraceContextError:
        return
    again = TraceContext.parse(found.traceparent, found.tracestate)
    if (again.trace_id, again.span_id, again.state) != (found.trace_id, found.span_id, found.state):
        raise AssertionError(f"{found} reads back as {again}")


def tracestate(data: bytes) -> None:
    """The other header alone."""
    try:
        parse_tracestate(data.decode("latin-1"))
    except TraceContextError:
        return


def state_file(data: bytes) -> None:
    """Logs and snapshots of the state store, behind a head that is right: what a frame says is what its bytes say."""
    for magic in (LOG, SNAPSHOT):
        for text in (data, header(magic, 7) + data):
            try:
                read = scan(text, magic)
            except SerializationError:
                continue
            written = header(magic, read.generation) + b"".join(
                frame(read.generation, each.version, each.operations, count=each.keys) for each in read.frames
            )
            if len(written) > len(text):
                raise AssertionError("more is read than was written")


def value(data: bytes) -> None:
    """A value as it is kept."""
    if len(data) < 4:
        return
    try:
        unpack(Packed(data[0] % 6, data[1] * 64, int.from_bytes(data[2:4], "little"), data[4:]))
    except SerializationError:
        return


def ring_page(data: bytes) -> None:
    """A page of the kernel's ring buffer."""
    try:
        parse(data, IDS)
    except SerializationError:
        return


def strace_line(data: bytes) -> None:
    """Lines of strace."""
    parser = Parser()
    for line in data.decode("latin-1").splitlines():
        parser.call(line)


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each for each in (proc, traceparent, tracestate, state_file, value, ring_page, strace_line)
}
SEEDS: dict[str, list[bytes]] = {
    "proc": [
        b"42 (a) b (c)) S 1 42 42 0 -1 4194560 1 0 0 0 5 6 0 0 20 0 3 0 100 9 9 18446744073709551615",
        b"10 5 3 1 0 4 0\n",
        b"rchar: 1\nread_bytes: 4096\nwrite_bytes: 0\n",
        b"voluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t1\n",
    ],
    "traceparent": [
        b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nrojo=00f067aa0ba902b7,congo=t61"
    ],
    "tracestate": [b"a@b=1,c=2, ,"],
    "state_file": [header(LOG, 1) + frame(1, 1, [("key", None)]), frame(7, 1, [], count=0)],
    "value": [b"\1\1\0\0\1\0"],
    "ring_page": [bytes(16), bytes(8) + b"\x44" + bytes(7) + b"\x10\0\0\0" + b"\xbb\1\0\0" + bytes(60)],
    "strace_line": [
        b"[pid  7] 1.000001 read(0x3, 0x1, 0x2) = -1 EAGAIN (x) <0.000001>\n1.0 <... a resumed>) = 0x1 <0.1>"
    ],
}
"""Something to begin from."""
