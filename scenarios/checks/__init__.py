"""Checkers: pure functions from a history to a verdict.

Each is shown in the unit tests to turn false on a bad history.
"""

from __future__ import annotations

from scenarios.checks.core import Checker, Result, Verdict, check, everything, worst

__all__ = ["Checker", "Result", "Verdict", "check", "everything", "worst"]
