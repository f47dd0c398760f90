"""One configuration written for others to run: a unit, an install script, a property list, Compose, Quadlet, Kubernetes.

What is written needs no manager of duende's: the platform starts, limits and restarts the daemon by itself. What it would not do, and
was asked for, is refused, unless `best_effort` lets it pass; what it does in its own way stands in a comment at the head.
"""

from duende.render.targets import TARGETS, render, render_fleet
from duende.render.written import Note, Rendered

__all__ = ["TARGETS", "Note", "Rendered", "render", "render_fleet"]
