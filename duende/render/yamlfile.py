"""YAML by PyYAML, in the form people write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from duende.errors import NotSupportedError


def dump(*documents: Any) -> str:
    """The *documents* as YAML, their keys in the order given.

    Raises:
        NotSupportedError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise NotSupportedError(
            "YAML", "write it", remedy="python -m pip install 'duende[render]'"
        ) from error

    class Dumper(yaml.SafeDumper):
        """Lists stand in from their key, texts of several lines as blocks, and nothing is an alias."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            del indentless
            return super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            del data
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    parts: Sequence[str] = [
        yaml.dump(each, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110) for each in documents
    ]
    return "---\n".join(parts)
