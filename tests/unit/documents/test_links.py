"""Every relative link in the documents leads somewhere, also to its heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
]
LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z+.-]*:")


def links(text: str) -> Iterator[str]:
    yield from (link for link in LINK.findall(FENCED.sub("", text)) if not ELSEWHERE.match(link))


def headings(text: str) -> set[str]:
    """The anchors that GitHub makes of them."""
    found = re.findall(r"^#+ +(.*?)\s*$", FENCED.sub("", text), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in found)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def mistakes(document: Path, text: str) -> list[str]:
    wrong = []
    for link in links(text):
        path, _, heading = link.partition("#")
        target = (document.parent / unquote(path)).resolve() if path else document
        if not target.exists() or not target.is_relative_to(ROOT):
            wrong.append(link)
        elif heading and target.suffix == ".md":
            there = text if target == document else target.read_text(encoding="utf-8")
            if heading not in headings(there):
                wrong.append(link)
    return wrong


@pytest.mark.parametrize(
    "document", [pytest.param(one, id=str(one.relative_to(ROOT))) for one in DOCUMENTS]
)
def test_its_links_lead_somewhere(document: Path) -> None:
    assert mistakes(document, document.read_text(encoding="utf-8")) == []


def test_a_mistake_is_found() -> None:
    text = (
        "# A `b` c\n[1](#a-b-c) [2](docs/cli.md#dapr-ini) [3](nope.md)\n[4](docs/cli.md)"
        " [5](https://a.example/nope) [6](../elsewhere)\n```\n[7](nope.md)\n```\n"
    )
    assert mistakes(ROOT / "README.md", text) == ["docs/cli.md#dapr-ini", "nope.md", "../elsewhere"]
