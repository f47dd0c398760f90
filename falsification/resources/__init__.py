"""Attempts on limits, usage and the state store."""
