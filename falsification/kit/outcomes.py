"""How an attempt ends early: one exception for each verdict that is not survival."""

from __future__ import annotations


class Falsified(AssertionError):  # noqa: N818  (a finding, not an error)
    """A counterexample to the claim was seen."""


class Unattempted(Exception):  # noqa: N818
    """Something this attempt needs is missing on this machine."""


class Vacuous(Exception):  # noqa: N818
    """The situation the claim is about cannot be reached in this run."""


class DeadlineExceeded(Exception):  # noqa: N818
    """Something the attempt waited for, and the claim does not promise, did not come in time: the attempt is
    broken.
    """


class AttemptTimeout(Exception):  # noqa: N818
    """The attempt as a whole ran out of its time."""
