"""On which line of a TOML text a key stands: for messages, so a simple scanner that never fails is enough."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
# Comments and strings of one line are matched as well, so that quotes inside them open nothing.
_TOKENS = re.compile(
    r"""#[^\n]*|(\"{3}(?:\\.|[^\\])*?\"{3}|'{3}.*?'{3})|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""", re.DOTALL
)


def line_of(text: str, key: str, prefix: str = "") -> int:
    """Line (from 1) of the dotted *key*, inside the table *prefix* ("" or "daemon[2]"); of the nearest
    enclosing table if it is absent.
    """
    wanted = [part for part in re.split(r"[.\[\]]+", key) if part and not part.isdecimal()]
    table: list[str] = []
    arrays: dict[str, int] = {}
    inside = not prefix
    best, best_line = -1, 1
    plain = _TOKENS.sub(lambda found: '""' + "\n" * found[1].count("\n") if found[1] else found[0], text)
    for number, line in enumerate(plain.split("\n"), 1):
        header = _HEADER.match(line)
        if header is not None:
            path = [part.strip().strip("\"'") for part in header.group(2).split(".")]
            if header.group(1) == "[[":
                arrays[path[0]] = arrays.get(path[0], -1) + 1
            inside = not prefix or f"{path[0]}[{arrays.get(path[0], -1)}]" == prefix
            table = path[1:] if prefix else path
            found = table
        else:
            match = _KEY.match(line)
            if match is None:
                continue
            found = table + [part.strip().strip("\"'") for part in match.group(1).split(".")]
        if not inside:
            continue
        depth = _shared(found, wanted)
        if header is None and depth < len(found):
            continue  # another key of the same table
        if header is not None and depth < len(table):
            continue
        if depth > best:
            best, best_line = depth, number
    return best_line


def _shared(left: list[str], right: list[str]) -> int:
    count = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        count += 1
    return count
