"""A page as a reader without eyes has it: tables by caption, links, and what it must not lack."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"br", "hr", "input", "link", "meta", "img"})


@dataclass
class Element:
    """One element with what is in it."""

    name: str
    attributes: dict[str, str | None]
    children: list[Element | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text, blanks as one."""
        parts = (each if isinstance(each, str) else each.text for each in self.children)
        return " ".join(" ".join(parts).split())

    def all(self, name: str) -> list[Element]:
        """Every element of a name below this one, in the order of the page."""
        found: list[Element] = []
        for each in self.children:
            if isinstance(each, Element):
                found += ([each] if each.name == name else []) + each.all(name)
        return found


class Page(HTMLParser):
    """Fails for markup that is not nested well."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(text)
        self.close()
        assert self._open == [self.root], [each.name for each in self._open]

    @property
    def text(self) -> str:
        """Of the content, without what surrounds every page."""
        return self.root.all("main")[0].text

    @property
    def links(self) -> list[str]:
        return [str(each.attributes["href"]) for each in self.root.all("a")]

    def table(self, caption: str) -> list[dict[str, str]]:
        """Rows by the texts of their heads; of the first such table, none without one."""
        return next(iter(self._tables(caption)), [])

    def table_rows(self, caption: str) -> list[dict[str, str]]:
        """Rows of all tables of a caption."""
        return [row for rows in self._tables(caption) for row in rows]

    def _tables(self, caption: str) -> list[list[dict[str, str]]]:
        found = []
        for table in self.root.all("table"):
            if table.all("caption")[0].text == caption:
                heads = [each.text for each in table.all("thead")[0].all("th")]
                rows = table.all("tbody")[0].all("tr")
                found.append([dict(zip(heads, _cells(row), strict=True)) for row in rows])
        return found

    def row(self, caption: str, first: str) -> dict[str, str]:
        """The row whose head is this text."""
        (found,) = (row for row in self.table(caption) if next(iter(row.values())) == first)
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self._open[-1].children.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].name == tag, f"</{tag}> ends <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def _cells(row: Element) -> list[str]:
    cells = (each for each in row.children if isinstance(each, Element))
    return [each.text for each in cells if each.name in ("th", "td")]


def assert_accessible(page: Page) -> None:
    """What a screen reader and a keyboard need, as far as it can be read off the markup."""
    root = page.root
    assert root.all("html")[0].attributes["lang"] == "en"
    assert len(root.all("h1")) == len(root.all("main")) == len(root.all("title")) == 1
    assert root.all("a")[0].attributes["href"] == "#content"
    assert [each.attributes.get("aria-label") for each in root.all("nav")] == ["Pages"]
    ids = [
        each.attributes["id"]
        for name in _NAMES
        for each in root.all(name)
        if "id" in each.attributes
    ]
    assert len(ids) == len(set(ids)), ids
    for table in root.all("table"):
        assert table.all("caption")[0].text
        assert {each.attributes["scope"] for each in table.all("th")} <= {"col", "row"}
    for image in root.all("svg"):
        assert image.attributes.get("aria-label") or image.attributes.get("aria-hidden") == "true"
    labelled = [each for label in root.all("label") for name in _FIELDS for each in label.all(name)]
    assert labelled == [each for label in root.all("form") for each in _fields(label)]
    for each in root.all("a"):
        assert each.text, each.attributes
    assert not root.all("script")
    assert "style=" not in page.source
    assert "javascript:" not in page.source


_FIELDS = ("input", "select")
_NAMES = ("main", "section", "h2", "p", "div")


def _fields(form: Element) -> list[Element]:
    return [each for label in form.all("label") for name in _FIELDS for each in label.all(name)]
