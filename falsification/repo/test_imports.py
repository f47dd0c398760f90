"""Imports point downwards, never in a circle, and `import duende` costs next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys

from falsification.repo.sources import ROOT, Source, library, runtime_nodes

LAYERS = (
    ("errors", "clock", "states", "signals", "ids"),
    ("config",),
    ("kernel",),
    ("daemon", "metrics", "restart"),
    ("mlock", "ublk", "policy", "observe", "state"),
    ("host", "adapters"),
    ("supervisor", "supervision", "readiness"),
    ("manager", "render"),
    ("testing", "cli", "examples"),
)
"""Lowest first. The helper `ids` belongs to the lowest."""
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
FACE = {"duende", "duende.__main__"}
"""Above all layers: the public face and the entry of `python -m duende`."""
HEAVY = (
    "asyncio",
    "msgspec",
    "psutil",
    "ssl",
    "json",
    "logging",
    "inspect",
    "typing_extensions",
    "ctypes",
    "socket",
    "uuid",
)
"""What `import duende` must leave alone."""


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _imports(source: Source, *, everywhere: bool) -> list[tuple[str, int]]:
    """Modules of duende that *source* imports, with the line; *everywhere*: inside functions too."""
    nodes = runtime_nodes(source.tree) if everywhere else _top_level(source.tree)
    names = {each.name for each in library()}
    found: list[tuple[str, int]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [
                (alias.name, node.lineno) for alias in node.names if alias.name.split(".")[0] == "duende"
            ]
        elif (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").split(".")[0] == "duende"
        ):
            base = node.module or ""
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.append((full if full in names else base, node.lineno))
    return found


def _top_level(tree: ast.Module) -> list[ast.AST]:
    """What runs when the module is imported: everything outside functions."""
    found: list[ast.AST] = []
    pending: list[ast.AST] = [tree]
    while pending:
        for child in ast.iter_child_nodes(pending.pop()):
            guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if not guarded and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                found.append(child)
                pending.append(child)
    return found


def test_every_module_has_a_layer() -> None:
    """Each folder or module of duende/ stands in one layer."""
    homeless = sorted(
        {each.relative for each in library() if each.name not in FACE and _part(each.name) not in RANK}
    )
    assert not homeless, f"no layer for {', '.join(homeless)}"


def test_imports_point_downwards() -> None:
    """A module imports only from its own layer or a lower one, inside functions too."""
    wrong = [
        f"{source.relative}:{line} imports {module}"
        for source in library()
        if source.name not in FACE
        for module, line in _imports(source, everywhere=True)
        if module != "duende" and RANK.get(_part(module), 0) > RANK.get(_part(source.name), 0)
    ]
    assert not wrong, "imports that point upwards:\n" + "\n".join(wrong)


def test_no_import_circle() -> None:
    """No module imports itself through others when it is imported."""
    names = {each.name for each in library()}
    graph = {
        each.name: {module for module, _ in _imports(each, everywhere=False) if module in names} - {each.name}
        for each in library()
    }
    done: set[str] = set()
    for start in graph:
        _walk(start, graph, [], done)


def _walk(name: str, graph: dict[str, set[str]], path: list[str], done: set[str]) -> None:
    assert name not in path, f"import circle: {' -> '.join([*path[path.index(name) :], name])}"
    if name in done:
        return
    for other in sorted(graph[name]):
        _walk(other, graph, [*path, name], done)
    done.add(name)


def test_adapters_are_not_named_by_the_manager() -> None:
    """The manager knows the adapters' contract and their choice, and no adapter."""
    wrong = [
        f"{source.relative}:{line} imports {module}"
        for source in library()
        if _part(source.name) == "manager"
        for module, line in _imports(source, everywhere=True)
        if module.startswith("duende.adapters.")
        and module.split(".")[2] not in {"contract", "choose", "early"}
    ]
    assert not wrong, "\n".join(wrong)


def test_import_is_light() -> None:
    """`import duende` loads none of the heavy modules."""
    code = "import sys; before = set(sys.modules); import duende; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    assert not set(done.stdout.split()) & set(HEAVY), f"import duende loads {done.stdout.strip()}"
