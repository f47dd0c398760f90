"""`duende doctor`: every platform has its line, whatever its adapter does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from duende import cli
from duende.adapters import choose
from duende.adapters.contract import Platform, PlatformAdapter, Probe, ProbeState
from duende.cli import doctor
from duende.errors import AccessError
from duende.testing.fake_adapter import FakeAdapter


class Broken(FakeAdapter):
    """Its platform refuses to be asked."""

    async def probe(self) -> Probe:
        """Refuse."""
        raise AccessError("cannot open /run/x.sock: permission denied", remedy="join the group x")


class Mute(FakeAdapter):
    """Its platform never answers."""

    async def probe(self) -> Probe:
        """Wait."""
        import asyncio

        await asyncio.Event().wait()
        return await super().probe()


def test_every_platform_has_its_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Usable, unhealthy and absent are told apart, with what would help; one that hangs holds up nobody."""
    kinds: dict[Platform, type[PlatformAdapter]] = {
        Platform.NATIVE: FakeAdapter,
        Platform.LINUX: Broken,
        Platform.CONTAINER: Mute,
    }
    real = choose.select_adapter

    def select(platform: Platform, **options: Any) -> PlatformAdapter:
        return kinds[platform]() if platform in kinds else real(platform, **options)

    monkeypatch.setattr(doctor, "select_adapter", select)
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT", 0.05)
    monkeypatch.delitem(choose.ADAPTERS, Platform.WOS)
    assert cli.main(["doctor", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["result"]}
    assert list(found) == [name for name, _, _ in doctor.ASKED]
    assert found["native"]["state"] == "usable"
    assert found["systemd (user)"]["state"] == "unhealthy"
    assert "permission denied" in found["systemd (user)"]["why"]
    assert "did not answer within" in found["podman"]["why"]
    assert found["wos"]["state"] == "absent"
    assert found["wos"]["capabilities"] is None
    assert all(each["remedy"] for each in found.values() if each["state"] != "usable")
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "try: join the group x" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    assert cli.main(["doctor", "--capabilities"]) == 0
    assert "proof_of_stop" in capsys.readouterr().out


def test_a_host_where_nothing_works_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code says whether at least one platform can be used."""

    class Nothing(FakeAdapter):
        async def probe(self) -> Probe:
            return Probe(state=ProbeState.ABSENT, why="nothing is here", remedy="use another machine")

    monkeypatch.setattr(doctor, "select_adapter", lambda *_, **__: Nothing())
    assert cli.main(["doctor"]) == 1
    assert "use another machine" in capsys.readouterr().out
