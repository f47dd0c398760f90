"""Daemons as transient units of systemd, over D-Bus.

`adapter.py` has the verbs, `exchange.py` what is known of each unit and how signals change it, `bus.py` the connection,
`render.py` builds a unit from a configuration and `parse.py` reads what systemd says: both pure. `facts.py` is what has to be
known of a systemd before anything is rendered for it, `ignored.py` what it would not do, `explain.py` what it did.

Imports `dbus_fast` (the extra `systemd`) in `bus.py` only.
"""
