"""Daemons in microVMs, one each, through the `pepita` command."""

from __future__ import annotations

from duende.adapters.pepita.adapter import PepitaAdapter

__all__ = ["PepitaAdapter"]
