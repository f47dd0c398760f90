"""Tests of what `duende render` writes."""
