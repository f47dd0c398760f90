"""Daemons as jobs of launchd, through launchctl(1).

`adapter.py` has the verbs, `starting.py`, `stopping.py` and `exchange.py` what they do, `launchctl.py` runs the command. `render.py` builds
a property list from a configuration and `parse.py` reads what launchctl prints: both pure. `processes.py` and `watch.py` are what has to be
known of processes on macOS, and on Linux, where a stand-in of launchd can be driven. `ignored.py` is what launchd would not do, `explain.py`
what it did.
"""
