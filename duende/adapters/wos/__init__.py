"""Daemons as WebAssembly processes under a WOS kernel, through its command `wos-ctl`.

| module | what it holds |
|---|---|
| `adapter`, `exchange` | the verbs, and the state behind them: records, events, ends |
| `settings`, `ignored`, `priorities` | `[platform.wos]`, what WOS does not do, and the names of its eight levels |
| `render`, `parse` | pure: configuration -> command line, answers -> values |
| `control` | running the command: one call, or a stream of lines, each with a deadline |
| `stopping`, `identity` | one stop with its proof, and the kernel that a handle is of |
| `explain`, `probe` | settings read back, and whether there is a WOS here |
"""

from __future__ import annotations
