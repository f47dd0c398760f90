"""Attempts on platforms, and the days on which everything else goes wrong."""
