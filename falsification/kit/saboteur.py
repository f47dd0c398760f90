"""Saboteurs: named defects planted in the product, under which an attempt must come out falsified.

The first form is the **mutant**: a change of source text in a copy of the product. Every process started from
that copy has the
defect, however it is started, because the copy is what it imports. The second is the **patch**: a context
manager that changes
the product inside the attempt's own process only.
"""

from __future__ import annotations

import importlib
import pkgutil
import shutil
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

REGISTRY: dict[str, Saboteur] = {}
"""Every saboteur by name, filled by importing the modules that define them."""


class SaboteurError(Exception):
    """A saboteur cannot be planted: its text is not in the product exactly once, or it is double. The
    saboteur is broken.
    """


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One change of source text."""

    file: str
    """Path from the root of the product: "duende/restart.py"."""
    old: str
    """Text that must stand there exactly once."""
    new: str
    """What stands there instead."""

    def apply(self, text: str) -> str:
        """The text of the file with the defect in it.

        Raises:
            SaboteurError: `old` is not there exactly once, or the result is no Python.
        """
        found = text.count(self.old)
        if found != 1:
            raise SaboteurError(
                f"{self.file}: the text to change is there {found} times, not once: {self.old!r}"
            )
        if self.old == self.new:
            raise SaboteurError(f"{self.file}: the change changes nothing: {self.old!r}")
        changed = text.replace(self.old, self.new)
        if self.file.endswith(".py"):
            try:
                compile(changed, self.file, "exec")
            except SyntaxError as error:
                raise SaboteurError(f"{self.file}: the changed text is no Python: {error}") from error
        return changed


@dataclass(frozen=True, kw_only=True)
class Saboteur:
    """One planted defect."""

    name: str
    """Its name, in kebab case: what it does, "kill-is-lazy"."""
    breaks: str
    """What is wrong with the product under it, in one sentence."""
    edits: tuple[Edit, ...] = ()
    """Changes of source text; empty for a patch."""
    patch: Callable[[], AbstractContextManager[None]] | None = None
    """Changes this process; None for a mutant."""
    vacuous_is_caught: str = ""
    """Why a vacuous attempt counts as caught; empty where it does not, which is the rule."""

    @contextmanager
    def active(self) -> Generator[None]:
        """Hold the in-process part of the defect in place; a mutant has none."""
        if self.patch is None:
            yield
        else:
            with self.patch():
                yield


def mutant(
    name: str,
    *,
    breaks: str,
    file: str,
    old: str,
    new: str,
    also: Iterable[Edit] = (),
    vacuous_is_caught: str = "",
) -> Saboteur:
    """Register a change of source text: in *file*, *old* (there exactly once) becomes *new*; *also* changes
    further places.

    Raises:
        SaboteurError: the name is taken.
    """
    edits = (Edit(file=file, old=old, new=new), *also)
    return _register(Saboteur(name=name, breaks=breaks, edits=edits, vacuous_is_caught=vacuous_is_caught))


def patch(
    name: str, *, breaks: str, vacuous_is_caught: str = ""
) -> Callable[[Callable[[], AbstractContextManager[None]]], Callable[[], AbstractContextManager[None]]]:
    """Register the decorated context manager (see contextlib.contextmanager) as an in-process defect.

    Raises:
        SaboteurError: the name is taken.
    """

    def register(
        function: Callable[[], AbstractContextManager[None]],
    ) -> Callable[[], AbstractContextManager[None]]:
        _register(Saboteur(name=name, breaks=breaks, patch=function, vacuous_is_caught=vacuous_is_caught))
        return function

    return register


def load(package: str) -> dict[str, Saboteur]:
    """Import *package* and every module in it, and return all saboteurs registered by then.

    Raises:
        SaboteurError: two have one name.
    """
    home = importlib.import_module(package)
    for module in pkgutil.iter_modules(getattr(home, "__path__", ())):
        importlib.import_module(f"{package}.{module.name}")
    return dict(REGISTRY)


def plant(saboteur: Saboteur, root: Path, copied: Iterable[str], into: Path) -> Path:
    """Copy the folders and files *copied* from *root* to the folder *into*, with the defect in them, and
    return *into*.

    Raises:
        SaboteurError: an edit does not fit; nothing may be concluded from running the copy.
    """
    into.mkdir(parents=True, exist_ok=True)
    for name in copied:
        source = root / name
        if source.is_dir():
            # Compiled files travel along: they stay valid, as copying keeps the times of the sources.
            shutil.copytree(
                source, into / name, symlinks=True, ignore=shutil.ignore_patterns("out", "*.sock")
            )
        elif source.is_file():
            shutil.copy2(source, into / name)
    for edit in saboteur.edits:
        target = into / edit.file
        if not target.is_file():
            raise SaboteurError(f"{saboteur.name}: there is no {edit.file} to change")
        changed = edit.apply(target.read_text(encoding="utf-8"))
        for stale in (target.parent / "__pycache__").glob(f"{target.stem}.*"):
            stale.unlink()
        target.write_text(changed, encoding="utf-8")
    return into


def _register(saboteur: Saboteur) -> Saboteur:
    if saboteur.name in REGISTRY:
        raise SaboteurError(f"there are two saboteurs named {saboteur.name!r}")
    if bool(saboteur.edits) == (saboteur.patch is not None):
        raise SaboteurError(f"{saboteur.name}: a saboteur is either a mutant or a patch")
    REGISTRY[saboteur.name] = saboteur
    return saboteur
