"""Attempts on gates, breakers and confinement."""
