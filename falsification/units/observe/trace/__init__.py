"""Tests of duende.observe.trace."""
