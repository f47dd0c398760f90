"""Tests of duende.testing."""
