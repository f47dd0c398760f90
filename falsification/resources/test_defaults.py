"""Attempts on limits as they are by default."""

from __future__ import annotations

from pathlib import Path

from duende.config import load
from duende.config.model import DEFAULT_MEMORY_BYTES
from falsification.kit import Trial, attempt
from falsification.workbench import CLASSES, manager_for


@attempt("F033", saboteurs=["zero-memory-stays-zero"])
async def test_memory_zero_means_the_default(trial: Trial) -> None:
    """A daemon configured with memory 0, or with none, starts under the default limit, and the limit bites."""
    manager = await manager_for(trial)
    below, above = DEFAULT_MEMORY_BYTES // 4, DEFAULT_MEMORY_BYTES * 2
    for name, line in (
        ("zero", "[resources]\nmemory_bytes = 0\n"),
        ("absent", ""),
        ("zero-text", '[resources]\nmemory_bytes = "0"\n'),
    ):
        source = trial.tmp / f"{name}.toml"
        source.write_text(
            f'name = "{name}"\ndaemon = "{CLASSES}:Glutton"\n{line}[settings]\nsizes = [{below}, {above}]\n'
        )
        with trial.claimed("it is accepted"):
            config = load(str(source))
        trial.check(
            config.resources.memory_bytes == DEFAULT_MEMORY_BYTES,
            f"{name}: the limit is the default, not {config.resources.memory_bytes}",
        )
        manager.register(config)
        with trial.claimed("it starts"):
            view = await manager.start(name)
        row = next(
            line
            for line in Path(f"/proc/{view.pid}/limits").read_text().splitlines()
            if line.startswith("Max data size")
        )
        trial.check(
            row.split()[3:5] == [str(DEFAULT_MEMORY_BYTES)] * 2,
            f"{name}: the kernel holds the default: {row}",
        )

        async def printed(word: str, name: str = name) -> bool:
            return word in await manager.logs(name)

        await trial.until(
            lambda: printed(f"refused {above}"),
            within=10,
            what="an allocation beyond the default is refused",
            claimed=True,
        )
        trial.check(await printed(f"allocated {below}"), "an allocation below it succeeds")
        trial.reached("a daemon without a memory figure of its own allocated", at_least=3)
