"""Tests of duende.config."""
