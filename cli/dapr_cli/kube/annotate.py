"""``dapr.io/*`` annotations into manifests. Pure: text in, text out.

The YAML is changed as a tree of nodes, not as values: what is not Dapr's stays as it was written,
``0644`` and quoted texts included. Comments are lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

_TEXT, _MAP = "tag:yaml.org,2002:str", "tag:yaml.org,2002:map"
_POD, _TEMPLATE = ("metadata",), ("spec", "template", "metadata")
# Kind → where the metadata of its pods are.
_PATHS: Mapping[str, tuple[str, ...]] = {
    "Pod": _POD,
    "Deployment": _TEMPLATE,
    "ReplicaSet": _TEMPLATE,
    "StatefulSet": _TEMPLATE,
    "DaemonSet": _TEMPLATE,
    "Job": _TEMPLATE,
    "CronJob": ("spec", "jobTemplate", *_TEMPLATE),
}
KINDS = tuple(_PATHS)
_DEFAULT_NAMESPACE = "default"
_ENABLED, _APP_ID = "dapr.io/enabled", "dapr.io/app-id"


class ManifestError(ValueError):
    """A manifest cannot be annotated; the text says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which workload is meant: the first one of this name and namespace, where they are given."""

    name: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        named = f" named '{self.name}'" if self.name else ""
        return f"{named} in namespace {self.namespace}" if self.namespace else named


@dataclass(slots=True)
class Annotator:
    """Goes through manifests one after the other and annotates the first workload meant."""

    annotations: Mapping[str, str]
    target: Target = field(default_factory=Target)
    annotated: str = ""
    """What was annotated, such as ``deployment/orders``; empty until then."""

    def text(self, text: str, source: str) -> str:
        """The documents of a text, one of them annotated. Raises ``ManifestError``."""
        try:
            documents = list(yaml.compose_all(text, yaml.SafeLoader))
        except (yaml.YAMLError, ValueError) as error:
            text = " ".join(str(error).split())
            raise ManifestError(f"{source}: yaml cannot be parsed: {text}") from error
        changed = [self._document(node) for node in documents if node and not _is_null(node)]
        if not changed:
            return ""
        return _written(changed, explicit_start=len(changed) > 1)

    def _document(self, node: Node) -> Node:
        if not isinstance(node, MappingNode) or self.annotated:
            return node
        items = _get(node, "items")
        if _text(node, "kind").endswith("List") and isinstance(items, SequenceNode):
            return _with(node, "items", self._list(items))
        return self._object(node)

    def _list(self, items: SequenceNode) -> SequenceNode:
        values = [self._document(item) for item in items.value]
        return SequenceNode(items.tag, values, flow_style=items.flow_style)

    def _object(self, node: MappingNode) -> Node:
        kind = _text(node, "kind")
        metadata = _get(node, "metadata")
        name, namespace = _text(metadata, "name"), _text(metadata, "namespace")
        if kind not in _PATHS or (self.target.name and name != self.target.name):
            return node
        if self.target.namespace and (namespace or _DEFAULT_NAMESPACE) != self.target.namespace:
            return node
        where = f"{kind.lower()}/{name}"
        app_id = f"{namespace or _DEFAULT_NAMESPACE}-{kind.lower()}-{name}"
        self.annotated = where
        return _annotated(node, _PATHS[kind], self.annotations, app_id, where)


def _annotated(
    node: MappingNode,
    path: tuple[str, ...],
    annotations: Mapping[str, str],
    app_id: str,
    where: str,
) -> MappingNode:
    """A copy of the nodes on the way down: one that an alias shows elsewhere stays there."""
    if path:
        below = _get(node, path[0]) or MappingNode(_MAP, [])
        if not isinstance(below, MappingNode):
            raise ManifestError(f"{where}: {path[0]} is not a mapping")
        return _with(node, path[0], _annotated(below, path[1:], annotations, app_id, where))
    present = _get(node, "annotations")
    if present is None or _is_null(present):
        present = MappingNode(_MAP, [])
    if not isinstance(present, MappingNode):
        raise ManifestError(f"{where}: annotations is not a mapping")
    # An app id that the manifest has is not replaced by one made up here.
    default = {} if _get(present, _APP_ID) else {_APP_ID: app_id}
    for name, value in {_ENABLED: "true", **default, **annotations}.items():
        # Always quoted: the API server takes nothing but texts.
        present = _with(present, name, ScalarNode(_TEXT, value, style='"'))
    return _with(node, "annotations", present)


# --- nodes --------------------------------------------------------------------------------------


def _written(documents: list[Node], *, explicit_start: bool) -> str:
    text: str = yaml.serialize_all(
        documents,
        Dumper=yaml.SafeDumper,
        explicit_start=explicit_start,
        allow_unicode=True,
        width=1 << 20,
    )
    return text


def _pairs(node: Node | None) -> Iterator[tuple[Node, Node]]:
    if isinstance(node, MappingNode):
        yield from node.value


def _get(node: Node | None, key: str) -> Node | None:
    return next((value for name, value in _pairs(node) if name.value == key), None)


def _text(node: Node | None, key: str) -> str:
    found = _get(node, key)
    return str(found.value) if isinstance(found, ScalarNode) and not _is_null(found) else ""


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _own(node: Node) -> Node:
    """Texts of one's own: the same node in two places would be written as an alias."""
    if not isinstance(node, ScalarNode):
        return node
    return ScalarNode(node.tag, node.value, style=node.style)


def _with(node: MappingNode, key: str, value: Node) -> MappingNode:
    """A copy in which ``key`` has another value; a new key comes last."""
    pairs = [(_own(name), _own(value)) for name, value in node.value]
    for index, (name, _) in enumerate(pairs):
        if name.value == key:
            pairs[index] = (name, value)
            break
    else:
        pairs.append((ScalarNode(_TEXT, key), value))
    # Something put into {} is written in lines of its own.
    return MappingNode(node.tag, pairs, flow_style=bool(node.value) and node.flow_style)
