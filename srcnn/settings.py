"""YAML files of settings: plain keys and values, nothing that expands or makes objects."""

import os
import re
from collections.abc import Callable
from typing import Any

import yaml

from srcnn.files import read_regular

_MAX_BYTES = 256 * 1024
_MAX_DEPTH = 16
# YAML's escapes can make characters that a file name, a terminal or UTF-8 cannot take.
_UNPRINTABLE = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_TEXT = "tag:yaml.org,2002:str"


class SettingsError(ValueError):
    """A file of settings cannot be read or is not plain YAML; the message is one line."""


def read_settings(
    path: str | os.PathLike, read: Callable[[str | os.PathLike, int], bytes] = read_regular
) -> dict[str, Any]:
    """Reads one YAML mapping; an empty file is an empty one.

    Aliases, tags, duplicate keys, keys that are not text and further documents are refused: each
    can give the file another meaning than it seems to have.

    Args:
      path: of the file, or a URI that `read` takes.
      read: as read_regular, for files elsewhere.

    Raises:
      SettingsError: the file is missing, too large, not a regular file, or no such mapping.
    """
    try:
        content = yaml.load(read(path, _MAX_BYTES), _PlainLoader)
    except OSError as error:
        raise SettingsError(f"{path}: cannot read the configuration: {error.strerror}") from None
    except yaml.MarkedYAMLError as error:
        raise SettingsError(
            f"{path}: not valid YAML: line {error.problem_mark.line + 1}: {error.problem:.200}"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # bytes that are not text, an impossible date
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(
            f"{path}: holds a {type(content).__name__}; needed: a mapping of keys and values"
        )
    return content


def shown(value: Any) -> str:
    """A value as part of a message: on one line, cut at 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


class _PlainLoader(yaml.SafeLoader):
    """The part of YAML that settings need."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        event = self.peek_event()
        if event.anchor is not None:  # an alias has one too
            self._refuse("anchors and aliases are not allowed; write the value out", event)
        if event.tag is not None:
            self._refuse(
                f"tags such as {shown(event.tag)} are not allowed; plain values only", event
            )
        if self.depth == _MAX_DEPTH:
            self._refuse(f"nested deeper than {_MAX_DEPTH} levels", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        node = super().compose_scalar_node(anchor)
        if found := _UNPRINTABLE.search(node.value):
            self._refuse(f"the character {found[0]!r} is not allowed", node)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            if key.tag != _TEXT or not key.value.isprintable():
                self._refuse(f"{shown(key.value)} is not a key; keys are text", key)
            if key.value in keys:
                self._refuse(f"key {shown(key.value)} is given twice", key)
            keys.add(key.value)
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        # Long ones are not converted, which would take quadratic time.
        if len(node.value) > 80 or abs(value := super().construct_yaml_int(node)) >= 2**63:
            self._refuse(f"{shown(node.value)} is too large a number", node)
        return value

    def _refuse(self, problem: str, at: yaml.Event | yaml.Node) -> None:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
