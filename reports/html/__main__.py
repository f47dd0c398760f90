"""`python -m reports.html [FILE] [--output FILE]`: write the report of a run. Needs nothing but Python."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from falsification.kit.claim import ClaimsError
from falsification.kit.record import write_atomically
from falsification.kit.suite import DEFAULT_SUITE, Suite
from reports import profile, verdicts
from reports.gate import judge_file
from reports.html.page import page


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 1 when the verdicts cannot be read."""
    parser = argparse.ArgumentParser(prog="report", description="Write the report of a run as one HTML file.")
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=verdicts.DEFAULT_FILE,
        help="verdicts (default: reports/out/verdicts.json)",
    )
    parser.add_argument("--output", type=Path, help="the report (default: report.html beside the verdicts)")
    options = parser.parse_args(arguments)
    output: Path = options.output or options.file.with_name("report.html")
    try:
        claims = Suite.read(DEFAULT_SUITE).claims()
        data = verdicts.read(options.file, claims)
    except (ClaimsError, verdicts.MalformedError) as error:
        print(f"cannot write the report: {error}")
        return 1
    decisions = [judge_file(options.file, name) for name in profile.names()]
    write_atomically(output, page(data, claims, decisions, options.file.parent / "attempts"))
    print(f"report: {output} ({output.stat().st_size // 1024} KiB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
