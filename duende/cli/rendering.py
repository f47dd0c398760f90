"""`duende render`: configurations as files for others."""

from __future__ import annotations

import argparse
import os
import sys

from duende.cli import exits, output
from duende.config.choosing import chosen
from duende.errors import ConfigError, DaemonIOError
from duende.manager.kept import write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from duende.render import Rendered


def do_render(options: argparse.Namespace) -> int:
    """Render the daemons of a file.

    Raises:
        ConfigError: the file has a mistake, or there is more to write than one output takes.
    """
    from duende.render import render_fleet

    configs = chosen(options.file, options.name)
    written = render_fleet(configs, options.to, python=options.python)
    if options.json:
        result = [
            {
                "filename": each.filename,
                "text": each.text,
                "notes": [{"key": note.key, "why": note.why} for note in each.notes],
            }
            for each in written
        ]
        output.json({"ok": True, "result": result})
        return exits.OK
    if options.output is None:
        if len(written) > 1:
            raise ConfigError(
                f"{options.file} has {len(written)} daemons, and {options.to} is one file for each",
                remedy="choose one with --name, or give a folder with --output",
            )
        sys.stdout.write(written[0].text)
    for each in written:
        for note in each.notes:
            sys.stderr.write(f"duende: {each.filename}: {note.key}: {note.why}\n")
    if options.output is not None:
        for each in written:
            print(_write(options.output, each))
    return exits.OK


def _write(folder: str, rendered: Rendered) -> str:
    """Write into *folder*, whole or not at all; the path."""
    path = os.path.join(folder, rendered.filename)
    try:
        os.makedirs(folder, exist_ok=True)
        write_whole(path, [rendered.text.encode()])
        os.chmod(path, 0o755 if rendered.executable else 0o644)
    except OSError as error:
        raise DaemonIOError.of("write", path, error, "give another folder with --output") from error
    return path
