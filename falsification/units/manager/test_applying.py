"""Files of daemons applied to a manager, on an adapter made of memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from duende.errors import (
    ConfigError,
    DaemonIOError,
    NotFoundError,
    SerializationError,
    SpawnError,
    StateError,
)
from duende.manager import DaemonManager
from duende.manager.applying import Applied
from duende.manager.definitions import Definitions, config_of, decode, define
from duende.states import Phase
from duende.supervision import Wish
from duende.testing.fake_adapter import FakeAdapter
from falsification.units.support import config, run

ONE = '[[daemon]]\nname = "one"\nbinary_path = "/bin/true"\n'
TWO = '[[daemon]]\nname = "two"\nbinary_path = "/bin/true"\nautostart = false\n'
SLEEPY = 'readiness = { kind = "none", settle = 0.0 }\n'

Body = Callable[[DaemonManager, Applied, FakeAdapter], Awaitable[None]]


def served(folder: Path, body: Body, *, fleet: Path | None = None) -> FakeAdapter:
    """Run *body* with a manager that has come up; daemons are left behind as a killed manager leaves them."""
    adapter = FakeAdapter()

    async def whole() -> None:
        manager = DaemonManager(
            adapter=adapter, state_dir=str(folder / "s"), runtime_dir=str(folder / "r"), keep=True
        )
        await manager.open()
        applied = Applied(manager)
        await applied.boot(str(fleet) if fleet else None)
        try:
            await body(manager, applied, adapter)
        finally:
            await manager.close()

    run(whole())
    return adapter


def write(path: Path, *tables: str) -> Path:
    """A file of these tables, each ready at once."""
    path.write_text("".join(table + SLEEPY for table in tables))
    return path


def test_what_is_applied_is_on_disk_before_it_starts(tmp_path: Path) -> None:
    """At the moment a daemon starts, its definition and its id are kept."""
    file = write(tmp_path / "f.toml", ONE, TWO)

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        seen: list[object] = []
        manager.subscribe(
            lambda event: (
                seen.append(json.loads((tmp_path / "s" / "definitions.json").read_text())["daemons"])
                if event.kind == "starting"
                else None
            )
        )
        result = await applied.apply(str(file))
        assert result == {"registered": ["one", "two"], "changed": [], "errors": {}, "failed": {}}
        (kept,) = seen
        assert isinstance(kept, dict)
        assert set(kept) == {"one", "two"}
        assert kept["one"]["source"] == str(file)
        assert kept["one"]["daemon_id"] == manager.status("one").daemon_id
        assert adapter.starts == ["one"]
        journal = json.loads((tmp_path / "s" / "manager.json").read_text())
        assert journal["daemons"]["one"]["daemon_id"] == manager.status("one").daemon_id

    served(tmp_path, body)


def test_applying_again_does_what_is_missing(tmp_path: Path) -> None:
    """What runs unchanged is left alone, what is at rest is started, and what changed is replaced once, under a new id."""
    file = write(tmp_path / "f.toml", ONE, TWO)

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        await applied.apply(str(file))
        before = manager.status("one").daemon_id
        assert (await applied.apply(str(file)))["failed"] == {}
        assert adapter.starts == ["one"]
        with pytest.raises(StateError, match="stop it first"):
            manager.replace(config(name="one"), daemon_id="another", wish=Wish.UP)
        await manager.stop("one")
        await applied.apply(str(file))
        assert adapter.starts == ["one", "one"]
        write(file, ONE.replace("/bin/true", "/bin/false"), TWO.replace("/bin/true", "/bin/false"))
        result = await applied.apply(str(file))
        assert sorted(result["changed"]) == ["one", "two"]
        assert adapter.starts == ["one", "one", "one"]  # the other one was down, and stays so
        assert adapter.most_alive["one"] == 1
        assert manager.status("one").daemon_id != before
        assert manager.status("two").status.phase is Phase.CREATED

    served(tmp_path, body)


def test_done_means_that_it_runs(tmp_path: Path) -> None:
    """Applying what is unchanged and just starts waits for it, and tells its failure."""
    file = write(tmp_path / "f.toml", ONE)

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        adapter.knobs.hang_starts = True
        first = asyncio.create_task(applied.apply(str(file)))
        while not manager.list() or manager.status("one").status.phase is not Phase.STARTING:
            await asyncio.sleep(0)
        second = asyncio.create_task(applied.apply(str(file)))
        await asyncio.sleep(0)
        adapter.knobs.start_errors = [SpawnError("no room", step="fork")]
        adapter.release_starts()
        assert [set((await each)["failed"]) for each in (first, second)] == [{"one"}, {"one"}]

    served(tmp_path, body)


def test_files_are_applied_one_after_the_other(tmp_path: Path) -> None:
    """Of two files with the same names at once the result is one of them as a whole, and never are there two instances."""
    left = write(tmp_path / "left.toml", ONE.replace("true", "left"), TWO.replace("true", "left"))
    right = write(tmp_path / "right.toml", ONE.replace("true", "right"), TWO.replace("true", "right"))

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        await asyncio.gather(*(applied.apply(str(path)) for path in (left, right, left, right)))
        paths = set()
        for name in ("one", "two"):
            supervisor = manager.find(name)
            assert supervisor is not None
            paths.add(supervisor.config.binary_path)
        assert len(paths) == 1
        assert adapter.most_alive["one"] == 1
        assert adapter.alive == 1

    served(tmp_path, body)


def test_a_file_that_cannot_be_kept_changes_nothing(tmp_path: Path) -> None:
    """Where the state folder takes no file, applying is refused before anything is done."""
    file = write(tmp_path / "f.toml", ONE)

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        (tmp_path / "s" / "definitions.json.new").mkdir()
        with pytest.raises(DaemonIOError, match="definitions"):
            await applied.apply(str(file))
        assert manager.list() == []
        assert adapter.starts == []

    served(tmp_path, body)


def test_nonsense_leaves_what_was_there(tmp_path: Path) -> None:
    """A file with nothing usable is refused; one broken daemon isolates itself; an adapter that is not here is that daemon's error."""
    good = write(tmp_path / "good.toml", ONE)
    elsewhere = 'platform = { adapter = "nowhere" }\n'

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        await applied.apply(str(good))
        kept = (tmp_path / "s" / "definitions.json").read_text()
        bad = write(tmp_path / "bad.toml", ONE + "nonsense = 1\n")
        with pytest.raises(ConfigError, match="nonsense"):
            await applied.apply(str(bad))
        assert (tmp_path / "s" / "definitions.json").read_text() == kept
        mixed = write(
            tmp_path / "mixed.toml", ONE + "nonsense = 1\n", TWO, TWO.replace("two", "far") + elsewhere
        )
        result = await applied.apply(str(mixed))
        assert result["registered"] == ["two"]
        assert set(result["errors"]) == {"one", "far"}
        assert manager.status("one").status.phase is Phase.RUNNING

    served(tmp_path, body)


def test_what_cannot_be_stopped_is_not_replaced(tmp_path: Path) -> None:
    """Without proof that the old instance is gone no new one is started, and the old definition stays."""
    file = write(tmp_path / "f.toml", ONE)

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        await applied.apply(str(file))
        adapter.knobs.unkillable = True
        write(file, ONE.replace("true", "false"))
        result = await applied.apply(str(file))
        assert result["changed"] == []
        assert "cannot replace 'one'" in result["errors"]["one"]
        assert adapter.starts == ["one"]
        definition = applied.definitions.get("one")
        assert definition is not None
        assert config_of(definition).binary_path == "/bin/true"
        adapter.knobs.unkillable = False

    served(tmp_path, body)


def test_the_next_manager_knows_what_was_applied(tmp_path: Path) -> None:
    """It registers the definitions under their ids, starts what is wanted, and forgets what was forgotten."""
    file = write(tmp_path / "f.toml", ONE, TWO)
    ids: dict[str, str] = {}

    async def first(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        await applied.apply(str(file))
        ids.update({view.name: view.daemon_id for view in manager.list()})

    async def second(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        assert {view.name: view.daemon_id for view in manager.list()} == ids
        await manager.find("one").ready()  # type: ignore[union-attr]
        assert adapter.starts == ["one"]
        with pytest.raises(NotFoundError):
            await applied.forget("nobody")
        await applied.forget("two")

    async def third(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        assert [view.name for view in manager.list()] == ["one"]

    for body in (first, second, third):
        served(tmp_path, body)


def test_a_fleet_file_rules_over_what_was_applied(tmp_path: Path) -> None:
    """A daemon that changed in the fleet file is another one; one that left it is forgotten when it does not run."""
    fleet = write(tmp_path / "fleet.toml", ONE, TWO)
    ids: list[str] = []

    async def first(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        ids.append(manager.status("one").daemon_id)

    async def second(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        assert manager.status("one").daemon_id == ids[0]

    async def third(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        assert [view.name for view in manager.list()] == ["one"]
        assert manager.status("one").daemon_id != ids[0]

    served(tmp_path, first, fleet=fleet)
    served(tmp_path, second, fleet=fleet)
    write(fleet, ONE.replace("true", "false"))
    served(tmp_path, third, fleet=fleet)


def test_a_definition_nobody_can_read_is_told(tmp_path: Path) -> None:
    """A definition of a later version isolates itself; a torn file is set aside."""
    definitions = Definitions(str(tmp_path))
    good = define(config(name="good"), "id-1", "/f.toml")
    definitions.keep({"good": good})
    text = (tmp_path / "definitions.json").read_text()
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "definitions.json").write_text(text.replace('"args"', '"later"'))

    async def body(manager: DaemonManager, applied: Applied, adapter: FakeAdapter) -> None:
        assert manager.list() == []
        assert "good (from /f.toml)" in applied.remarks[0]

    served(tmp_path, body)
    for raw in (b"", b"\0" * 9, text.encode()[:-3], b'{"format": 9, "daemons": {}}'):
        with pytest.raises(SerializationError):
            decode(raw)
        (tmp_path / "definitions.json").write_bytes(raw)
        again = Definitions(str(tmp_path))
        again.load()
        assert again.items() == []
        assert again.set_aside is not None
        assert Path(again.set_aside).read_bytes() == raw
