"""Attempts on metrics, tracing and history."""
