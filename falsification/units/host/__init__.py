"""Tests of duende.host."""
