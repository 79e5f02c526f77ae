"""YAML whose scalars stay as written: ``1.10`` and ``yes`` are texts, as Dapr reads them."""

from __future__ import annotations

from typing import Any

import yaml

_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_TRUE = frozenset({"true", "yes", "y", "on"})
_FALSE = frozenset({"false", "no", "n", "off"})


class _PlainLoader(yaml.SafeLoader):
    """Knows no numbers, truth values or dates."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag in _KEPT]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _as_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


for _kind in ("bool", "int", "float", "timestamp"):
    # Not even a tag is a reason to read it otherwise: ``!!int abc`` PyYAML could not.
    _PlainLoader.add_constructor(f"tag:yaml.org,2002:{_kind}", _as_written)


def load(text: str) -> Any:
    """Mappings, lists, texts and ``None``. Raises ``ValueError`` with what is wrong."""
    try:
        return yaml.load(text, _PlainLoader)  # noqa: S506 - a SafeLoader that knows less
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def item_lines(text: str, key: str) -> list[int]:
    """The line, from 1, where each item of a list at the top begins; ``load`` takes the text."""
    root = yaml.compose(text, _PlainLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for name, value in pairs:
        if name.value == key and isinstance(value, yaml.SequenceNode):
            return [item.start_mark.line + 1 for item in value.value]
    return []


def to_bool(text: str) -> bool:
    """What YAML takes for a truth value. Raises ``ValueError``."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError(text)


def to_int(text: str) -> int:
    """A decimal, hexadecimal or octal number. Raises ``ValueError``."""
    return int(text, 0)
