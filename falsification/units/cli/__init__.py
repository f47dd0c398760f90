"""Unit tests, mirroring duende/."""
