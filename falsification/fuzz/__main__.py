"""`python -m falsification.fuzz [SECONDS [TARGET ...]]`: each target that long (10 s), in a process of its own; 1 when one raised what it should not.

What made it do so stays in reports/out/fuzz.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "reports" / "out" / "fuzz"
SEED = 110


def one(name: str, seconds: int) -> None:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=["duende"]):  # before anything has imported them
        from falsification.fuzz.targets import SEEDS, TARGETS
    corpus = OUT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(each)
    words = [
        f"-max_total_time={seconds}",
        f"-seed={SEED}",
        "-max_len=4096",
        "-print_final_stats=1",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={OUT}/{name}-", str(corpus)], TARGETS[name])
    atheris.Fuzz()


def main(words: list[str]) -> int:
    """Fuzz all, or those named."""
    if words[:1] == ["--one"]:
        one(words[1], int(words[2]))
        return 0
    seconds = int(words[0]) if words else 10
    failed = []
    from falsification.fuzz.targets import TARGETS

    for name in words[1:] or list(TARGETS):
        print(f"fuzzing {name} for {seconds} s ...", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "falsification.fuzz", "--one", name, str(seconds)],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 120,
        )
        stats = [
            line for line in (done.stdout + done.stderr).splitlines() if "number_of_executed_units" in line
        ]
        print(
            f"  {'survived' if done.returncode == 0 else 'BROKEN'}: {''.join(stats)[-60:].strip()}",
            flush=True,
        )
        if done.returncode:
            print((done.stdout + done.stderr)[-3000:])
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
