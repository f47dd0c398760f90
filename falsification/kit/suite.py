"""A suite: which product, which claims, which attempts.

Ours is `falsification/suite.toml`; the kit's own test has a toy one.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from falsification.kit.claim import Claim, ClaimsError, load

KIT_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the `falsification` package."""
DEFAULT_SUITE = KIT_ROOT / "falsification" / "suite.toml"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Where everything of a suite lies."""

    path: Path
    """The suite file itself."""
    root: Path
    """The folder everything else is relative to, and the working directory of every run."""
    product: str
    """Import name of the package under test."""
    copied: tuple[str, ...]
    """What a mutant's copy consists of."""
    attempts: tuple[str, ...]
    """Folders or files with attempts."""
    saboteurs: str
    """Package whose modules register the planted defects."""
    claims_file: Path
    lock_file: Path
    thresholds_file: Path | None
    unattempted_file: Path

    @classmethod
    def read(cls, path: Path) -> Suite:
        """Read a suite file.

        Raises:
            ClaimsError: it cannot be read or lacks a key.
        """
        path = path.resolve()
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            root = (path.parent / table["root"]).resolve()
            thresholds = table.get("thresholds")
            return cls(
                path=path,
                root=root,
                product=table["product"],
                copied=tuple(table["copied"]),
                attempts=tuple(table["attempts"]),
                saboteurs=table["saboteurs"],
                claims_file=root / table["claims"],
                lock_file=root / table["lock"],
                thresholds_file=root / thresholds if thresholds else None,
                unattempted_file=root / table["unattempted"],
            )
        except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
            raise ClaimsError(f"cannot read the suite {path}: {type(error).__name__} {error}") from error

    def claims(self) -> dict[str, Claim]:
        """The claims, checked against their hashes.

        Raises:
            ClaimsError: see `falsification.kit.claim.load`.
        """
        return load(self.claims_file, self.lock_file, self.thresholds_file)

    def unattempted(self) -> dict[str, str]:
        """Ids without an attempt, each with what is missing.

        Raises:
            ClaimsError: the table cannot be read.
        """
        try:
            table = tomllib.loads(self.unattempted_file.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ClaimsError(f"cannot read {self.unattempted_file}: {error}") from error
        return {name: str(reason) for name, reason in table.items()}

    def inside(self, root: Path) -> Suite:
        """This suite in a copy of its root."""
        return Suite.read(root / self.path.relative_to(self.root))

    def attempt_paths(self) -> list[str]:
        """Those of `attempts` that exist, relative to the root."""
        return [name for name in self.attempts if (self.root / name).exists()]
