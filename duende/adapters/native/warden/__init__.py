"""The warden: one small single-threaded process between the adapter and its daemons.

It is their parent and the subreaper of their orphans, so no exit code is lost while the manager is busy, blocked or dead; its few
open descriptors and small memory make it the fast place to start a process from. It loads no more than `os`, `select`, `marshal`
and `signal` before the first daemon runs.

Map: `wire` frames · `apply` settings of a child · `launch` batches of programs · `preload` Python daemons by fork ·
`tree` who is left · `stops` ending with proof · `keeper` output into rotating files · `main` the loop.
"""
