"""Answers of services that speak XML: elements without namespaces, and no entities of their own."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

Element = ElementTree.Element


class _Builder(ElementTree.TreeBuilder):
    """Refuses documents that define entities: no service sends any, and they can explode."""

    def start(self, tag: Any, attrs: Any) -> Element:
        return super().start(str(tag).rpartition("}")[2], attrs)

    def end(self, tag: Any) -> Element:
        return super().end(str(tag).rpartition("}")[2])

    def doctype(self, *_: object) -> None:
        raise ValueError("a document type in an answer")


def parse(body: bytes) -> Element | None:
    """The root; ``None`` for what is no XML."""
    parser = ElementTree.XMLParser(target=_Builder())  # noqa: S314 - without document types
    try:
        parser.feed(body)
        found: Element = parser.close()
    except (ElementTree.ParseError, ValueError):
        return None
    return found


def text(element: Element | None, path: str) -> str:
    """A descendant's text; empty when it is not there."""
    found = None if element is None else element.find(path)
    return "" if found is None else found.text or ""
