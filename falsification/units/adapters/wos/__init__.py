"""Tests of the WOS adapter."""
