"""Attempts on starting, stopping, restarting, logs, identity."""
