"""Tests of duende.examples."""
