"""House rules of library code that no linter has: read from the syntax trees of duende/."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from falsification.repo.sources import Source, library

PRINTS = ("duende/cli/", "duende/examples/")
"""Where printing is the job."""
EXITS = {
    "duende/cli/": "the command ends with its documented exit codes",
    "duende/examples/": "an example is a program",
    "duende/__main__.py": "python -m duende is the command",
    "duende/host/": "the process of a daemon ends with the code that tells what happened",
    "duende/adapters/native/": "forked children and helper processes end here",
    "duende/kernel/": "a forked child that cannot exec ends at once",
    "duende/manager/": "the manager process ends with its documented exit codes",
    "duende/observe/trace/stops.py": "a program of its own, which ends with what it found",
}
"""Where ending the process is allowed, and why."""
EXITING = {"sys.exit", "os._exit", "exit", "quit", "os.abort"}


def _nodes(kind: type[ast.AST]) -> Iterator[tuple[Source, ast.AST]]:
    for source in library():
        for node in ast.walk(source.tree):
            if isinstance(node, kind):
                yield source, node


def _allowed(source: Source, places: object) -> bool:
    return any(source.relative.startswith(place) for place in places)  # type: ignore[attr-defined]


def test_no_assert() -> None:
    """Library code has no assert: `python -O` would remove it."""
    assert [source.at(node) for source, node in _nodes(ast.Assert) if isinstance(node, ast.Assert)] == []


def test_no_bare_except() -> None:
    """Every except names what it catches."""
    assert [
        source.at(node)
        for source, node in _nodes(ast.ExceptHandler)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ] == []


def test_no_silent_except() -> None:
    """An except that does nothing says why in a comment beside or inside it."""
    silent = []
    for source, node in _nodes(ast.ExceptHandler):
        if not isinstance(node, ast.ExceptHandler) or not all(_does_nothing(each) for each in node.body):
            continue
        first, last = node.lineno - 1, max(each.end_lineno or each.lineno for each in node.body)
        if not any("#" in source.line(number) for number in range(max(first, 1), last + 1)):
            silent.append(source.at(node))
    assert not silent, "silent, without a word why:\n" + "\n".join(silent)


def _does_nothing(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Pass | ast.Continue) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    )


def test_no_print() -> None:
    """Library code prints nothing; the command and the examples do."""
    found = [
        source.at(node)
        for source, node in _nodes(ast.Call)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print" and not _allowed(source, PRINTS)
    ]
    assert found == []


def test_no_exit() -> None:
    """Library code ends no process but in the listed mains."""
    found = [
        source.at(node)
        for source, node in _nodes(ast.Call)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in EXITING and not _allowed(source, EXITS)
    ]
    assert found == []


def test_raises_are_documented() -> None:
    """A public function with a raise statement of its own names its errors under "Raises:"."""
    missing = []
    for source in library():
        for name, function in _public_functions(source.tree):
            raised = sorted(
                {text for node in _own(function) if isinstance(node, ast.Raise) and (text := _raised(node))}
            )
            if raised and "Raises:" not in (ast.get_docstring(function) or ""):
                missing.append(f"{source.at(function)} {name} raises {', '.join(raised)}")
    assert not missing, "\n".join(missing)


def _public_functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name, node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith("_"):
                    yield f"{node.name}.{each.name}", each


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a function, without those of functions and classes inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield child
            yield from _own(child)


def _raised(node: ast.Raise) -> str:
    """What is raised, or empty for a re-raise and for NotImplementedError of an interface."""
    if node.exc is None or (isinstance(node.exc, ast.Name) and node.exc.id.islower()):
        return ""
    text = ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)
    return "" if text in {"NotImplementedError", "StopAsyncIteration", "StopIteration"} else text


def test_no_blocking_call_in_async_code() -> None:
    """No coroutine of the library sleeps, waits for a process, or runs one, in a way that stops the loop."""
    blocking = {
        "time.sleep",
        "os.wait",
        "os.waitpid",
        "os.waitid",
        "subprocess.run",
        "subprocess.call",
        "subprocess.check_output",
        "os.system",
        "input",
    }
    found = [
        f"{source.at(each)} {ast.unparse(each.func)} in async {node.name}"
        for source, node in _nodes(ast.AsyncFunctionDef)
        if isinstance(node, ast.AsyncFunctionDef)
        for each in _own(node)
        if isinstance(each, ast.Call)
        and ast.unparse(each.func) in blocking
        and "WNOHANG" not in ast.unparse(each)
    ]
    assert not found, "\n".join(found)


def test_no_wait_for() -> None:
    """The library bounds waits with `asyncio.timeout`: before Python 3.12 `wait_for` swallows a cancellation that meets the result."""
    found = [
        source.at(node)
        for source, node in _nodes(ast.Call)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "asyncio.wait_for"
    ]
    assert found == []
