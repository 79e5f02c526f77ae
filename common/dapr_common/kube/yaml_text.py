"""YAML text → plain values, as Go's YAML reader types them, and never more than the text is worth.

Aliases make a few lines stand for gigabytes, merge keys make them cost hours: what a document
comes to is counted before anything is built from it.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_CHARACTERS = 16 << 20
_MAX_DEPTH = 200
_SHOWN = 60
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlTooLargeError(ValueError):
    """The document is too large or too deep."""


class _Loader(_BASE):  # type: ignore[misc]
    """``SafeLoader`` that leaves dates as text, as Go does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in _BASE.yaml_implicit_resolvers.items()
}


def _scalar(loader: Any, node: yaml.ScalarNode) -> object:
    # What a tag says of a value (``!!bool maybe``) PyYAML believes, and fails in many ways.
    build = yaml.SafeLoader.yaml_constructors[node.tag]
    try:
        return build(loader, node)
    except (ValueError, LookupError, AttributeError, TypeError, OverflowError) as error:
        kind = node.tag.rpartition(":")[2]
        text = f"'{node.value[:_SHOWN]}' is no {kind}"
        raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from error


def _number(loader: Any, node: yaml.ScalarNode) -> object:
    # Base 60 is YAML 1.1 as well, but "10:30" is an address or a time to everybody else.
    return node.value if _SEXAGESIMAL.fullmatch(node.value) else _scalar(loader, node)


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _Loader.add_constructor(_tag, _number)
for _tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"):
    _Loader.add_constructor(_tag, _scalar)
for _tag in ("tag:yaml.org,2002:value", "tag:yaml.org,2002:merge"):
    # "=", and "<<" where it merges nothing: PyYAML knows what they are called and no more.
    _Loader.add_constructor(_tag, yaml.SafeLoader.construct_yaml_str)


def load_yaml(text: str) -> Any:
    """The first document of a text. Raises ``yaml.YAMLError`` or ``YamlTooLargeError``."""
    if len(text) > MAX_CHARACTERS:
        raise YamlTooLargeError(f"it is longer than {MAX_CHARACTERS >> 20} MiB")
    try:
        loader = _Loader(text)
    except UnicodeEncodeError as error:  # what was no UTF-8 in a file is half a character here
        raise yaml.YAMLError("it is not valid UTF-8") from error
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, 0, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _measure(node: yaml.Node, depth: int, known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Characters and levels under a node with every alias written out."""
    if (found := known.get(id(node))) is None:
        if depth > _MAX_DEPTH:
            raise YamlTooLargeError(f"it is nested deeper than {_MAX_DEPTH} levels")
        size, levels = 1, 0
        if isinstance(node, yaml.ScalarNode):
            size += len(node.value)
        for child in _children(node):
            characters, below = _measure(child, depth + 1, known)
            size, levels = size + characters, max(levels, below + 1)
        found = known[id(node)] = (size, levels)
    if found[0] > MAX_CHARACTERS or depth + found[1] > _MAX_DEPTH:
        raise YamlTooLargeError(
            f"its aliases make it larger than {MAX_CHARACTERS >> 20} MiB "
            f"or deeper than {_MAX_DEPTH} levels"
        )
    return found


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return []
