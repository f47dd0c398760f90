"""Tests of duende.state."""
