"""Text that comes from outside is text in the page, wherever it stands."""

from __future__ import annotations

from harness.html_page import Page

from dapr_dashboard.markup import Html, badge, facts, html, link, rooted, table, tag

EVIL = "<script>alert('x')</script>\"&"
SAFE = "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;"


def test_text_is_escaped_once_and_html_is_not() -> None:
    assert html(EVIL) == SAFE
    assert html(html(EVIL)) == SAFE
    assert html([EVIL, [Html("<b>"), None, 1, 1.5]]) == f"{SAFE}<b>11.5"


def test_everything_that_makes_html_escapes() -> None:
    made = [
        tag("p", EVIL, class_=EVIL),
        link(EVIL, EVIL),
        table(EVIL, [EVIL], [[EVIL, EVIL]]),
        facts({EVIL: EVIL}),
        badge("bad", EVIL),
    ]
    for each in made:
        assert "<script" not in each
        assert SAFE in each


def test_attributes() -> None:
    made = tag("input", name="q", required=True, disabled=False, aria_label="a", value=None)
    assert made == '<input name="q" required aria-label="a">'


def test_a_table_says_what_it_is_and_which_cells_are_heads() -> None:
    made = table("Apps", ["Id", "Age"], [["a", "1s"]])
    assert "<caption>Apps</caption>" in made
    assert '<th scope="col">Id</th>' in made
    assert '<th scope="row">a</th><td>1s</td>' in made
    assert table("Apps", ["Id"], []) == '<p class="none">Apps: none.</p>'


def test_columns_in_which_nothing_stands_are_left_out() -> None:
    page = Page(f"<main>{table('A', ['Id', 'No', 'Age'], [['', '', '1s'], ['', None, '']])}</main>")
    assert page.table("A") == [{"Id": "", "Age": "1s"}, {"Id": "", "Age": ""}]


def test_below_the_path_of_a_proxy_only_links_change() -> None:
    """Not what is only shown, whatever it looks like."""
    made = tag("p", 'a href="/x"', tag("a", 'y href="/y"', href="/z", title=' href="/t"'))
    (shown,) = Page(rooted(made, "/base")).root.all("a")
    assert shown.attributes == {"href": "/base/z", "title": ' href="/t"'}
    assert shown.text == 'y href="/y"'
    assert rooted(made, "") == made


def test_facts_without_a_value_are_left_out() -> None:
    assert facts({"a": "", "b": None, "c": []}) == "<dl></dl>"
