"""What is installed, and what is left alone."""

from __future__ import annotations

import os

import pytest

from falsification.kit import lab

POLICY = """\
docker.io:
  Installed: (none)
  Candidate: 20.10.24+dfsg1-1
  Version table:
     20.10.24+dfsg1-1 500
docker-cli:
  Installed: (none)
  Candidate: (none)
  Version table:
"""


def test_a_program_that_is_there_is_left_alone() -> None:
    """A runtime of another vendor is not replaced: its package is not asked for."""
    there = {"dockerd", "docker", "containerd", "runc"}
    absent = lab.missing_runtimes(lambda program: f"/usr/bin/{program}" if program in there else None)
    assert {"docker.io", "containerd", "runc"}.isdisjoint(absent)
    assert {"podman", "conmon", "debootstrap"} <= set(absent)


def test_what_a_release_does_not_have_is_not_asked_for() -> None:
    """A package without a candidate, or unknown altogether, does not make the others fail."""
    assert lab.candidates(POLICY, ["docker.io", "docker-cli", "nowhere"]) == ["docker.io"]


def test_elsewhere_it_says_what_it_cannot_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without root or apt it names what is missing, and goes on."""
    monkeypatch.setattr(lab, "missing_runtimes", lambda: ["podman"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert lab.install() is False
    assert "cannot install" in (said := capsys.readouterr().out)
    assert "podman: not root" in said
