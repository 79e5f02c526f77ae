"""HTML as values: text is escaped unless it is HTML that was made here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TypeAlias
from urllib.parse import quote

_VOID = frozenset({"br", "hr", "input", "link", "meta", "img"})


class Html(str):
    """A text that is HTML already."""

    __slots__ = ()


Content: TypeAlias = "str | int | float | Iterable[Content] | None"


def html(content: Content) -> Html:
    """Anything that can stand in a page; ``None`` and an empty list are nothing."""
    if isinstance(content, Html):
        return content
    if content is None:
        return Html("")
    if isinstance(content, str | int | float):
        return Html(escape(str(content)))
    return Html("".join(html(each) for each in content))


def tag(name: str, /, *content: Content, **attributes: str | int | bool | None) -> Html:
    """One element. ``class_`` is ``class``, ``aria_label`` is ``aria-label``.

    An attribute that is ``None`` or ``False`` is left out.
    """
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{shown}>")
    return Html(f"<{name}{shown}>{html(content)}</{name}>")


def _attribute(key: str, value: str | int | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def link(target: str, *content: Content) -> Html:
    """A way to another page. ``target`` is a path of ours, percent-encoded already."""
    return tag("a", *content, href=target)


def anchor(*names: str) -> str:
    """An id of an element, and the fragment that leads to it. Names are anybody's."""
    return "-".join(quote(name, safe="") for name in names)


_PATH = re.compile(r'( (?:href|action)=")/')


def rooted(document: Html, base: str) -> Html:
    """A page whose links to our own paths lead below ``base``.

    Quotation marks of texts and values are escaped, so what is found are attributes.
    """
    return (
        Html(_PATH.sub(lambda found: f"{found[1]}{escape(base)}/", document)) if base else document
    )


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[Content]], *, empty: str = "None."
) -> Html:
    """Rows under heads; the first cell of a row is its head. Wide ones scroll on their own.

    A column in which nothing stands is left out, but for the first.
    """
    cells = [[html(cell) for cell in row] for row in rows]
    if not cells:
        return tag("p", f"{caption}: {empty[0].lower()}{empty[1:]}", class_="none")
    shown = [number for number in range(1, len(heads)) if any(row[number] for row in cells)]
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", row[number]) for number in shown),
        )
        for row in cells
    ]
    head = tag("tr", *(tag("th", heads[number], scope="col") for number in (0, *shown)))
    inner = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    # Focusable, so that keys scroll it, too.
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption)


def facts(entries: Mapping[str, Content]) -> Html:
    """Names and values; those without a value are left out."""
    shown = ((name, html(value)) for name, value in entries.items())
    return tag("dl", *(Html(f"{tag('dt', name)}{tag('dd', text)}") for name, text in shown if text))


_MARKS = {"good": "●", "warn": "▲", "bad": "✖", "unknown": "○"}


def badge(kind: str, text: str) -> Html:
    """A state in words, with a mark: never by its colour alone."""
    mark = tag("span", _MARKS[kind], aria_hidden="true")
    return tag("span", mark, " ", text, class_=f"badge {kind}")


def code(text: str) -> Html:
    """A name or path as programs write it; nothing for an empty one."""
    return tag("code", text) if text else Html("")


def pre(text: str, label: str) -> Html:
    """Lines as they are."""
    return tag("pre", text, tabindex=0, role="region", aria_label=label)
