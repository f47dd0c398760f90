"""`python -m falsification.kit.again --name NAME --flaky FILE COMMAND...`: pytest, and once more those of its tests that failed.

For CI on a small machine that others use too: one unlucky test must not lose a change, and must not go unseen either. What passes
the second time is told as FLAKY and noted in FILE, a line for each test. A second failure fails, and so does what no second look at
some tests can clear: a run that was refused, interrupted or collected nothing, and things left behind.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

CACHE = Path(".pytest_cache/v")
"""Where pytest keeps what `--last-failed` reads (cacheprovider), below the folder it runs in."""
LEFT_BEHIND = "lab/left-behind"
"""Under this name the lab's plugin keeps what the run left behind."""
TESTS_FAILED = 1
"""pytest's exit code for that, and nothing else."""


def note(flaky: Path, name: str, ids: Iterable[str]) -> None:
    """Add what passed the second time to the file *flaky*, for the summary; nothing makes no file."""
    lines = [f"{name}: {each}\n" for each in ids]
    if not lines:
        return
    flaky.parent.mkdir(parents=True, exist_ok=True)
    with flaky.open("a", encoding="utf-8") as file:
        file.writelines(lines)


def kept(name: str) -> list[str]:
    """The list, or the keys, that the last run kept under *name*; empty where it kept none."""
    try:
        return sorted(json.loads((CACHE / name).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def run(command: Sequence[str], *, name: str, flaky: Path) -> int:
    """Run it, perhaps once more; the exit code."""
    # Without what earlier runs kept: what failed is to be what failed now.
    first = subprocess.run([*command, "--cache-clear"], check=False).returncode
    if first != TESTS_FAILED:
        return first
    failed, left = kept("cache/lastfailed"), kept(LEFT_BEHIND)
    if left or not failed:
        print(
            f"== {name}: no second try: {'something was left behind' if left else 'no test failed'}",
            flush=True,
        )
        return first
    print(f"== {name}: once more the {len(failed)} that failed", flush=True)
    for each in failed:
        print(f"   {each}", flush=True)
    second = subprocess.run(
        [*command, "--last-failed", "--last-failed-no-failures", "none"], check=False
    ).returncode
    if second == 0:
        note(flaky, name, failed)
        for each in failed:
            print(f"FLAKY: {each}", flush=True)
    return second


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="again", description=__doc__)
    parser.add_argument("--name", required=True, help="what the run is called")
    parser.add_argument(
        "--flaky", type=Path, required=True, help="file that tells what passed the second time"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="pytest and its options")
    options = parser.parse_args(arguments)
    return run(options.command, name=options.name, flaky=options.flaky)


if __name__ == "__main__":
    sys.exit(main())
