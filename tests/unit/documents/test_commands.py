"""Every command line that the documents show is one that the programs take."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest

from dapr_cli.__main__ import root
from dapr_common.flags import Flag, parse
from dapr_dashboard.settings import FLAGS as DASHBOARD
from dapr_operator.flag_table import FLAGS as OPERATOR
from dapr_placement.flag_table import FLAGS as PLACEMENT
from dapr_sentry.flag_table import FLAGS as SENTRY
from dapr_sidecar.flag_table import FLAGS as SIDECAR

ROOT = Path(__file__).parents[3]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
]
PROGRAMS: dict[str, Sequence[Flag]] = {
    "daprd": SIDECAR,
    "dapr-dashboard": DASHBOARD,
    "dapr-operator": OPERATOR,
    "dapr-placement": PLACEMENT,
    "dapr-sentry": SENTRY,
}
FENCED = re.compile(r"^```(?:bash|console|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`(dapr [a-z][^`\n]*)`")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BEFORE = re.compile(r"sudo|exec|time|[A-Z_]+=.*")


def lines() -> Iterator[tuple[str, list[str]]]:
    """Where it stands, and the words of one command."""
    for document in DOCUMENTS:
        for block in FENCED.findall(document.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                for words in commands(line.removeprefix("$ ")):
                    yield str(document.relative_to(ROOT)), words


def commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for token in lexer:
            if set(token) <= set("&|;()"):
                yield from ours(words)
                words = []
            else:
                words.append(token)
    except ValueError:
        return  # the first of several lines in quotes, or an output
    yield from ours(words)


def ours(words: list[str]) -> Iterator[list[str]]:
    while words and BEFORE.fullmatch(words[0]):
        words = words[1:]
    if words and (name := Path(words[0]).name) in {"dapr", "make", *PROGRAMS}:
        yield [name, *words[1:]]


def refusal(words: Sequence[str]) -> str:
    """What the program says of its command line; "" when it takes it. Nothing is run."""
    name, *arguments = words
    if name == "make":
        unknown = [word for word in arguments if "=" not in word and word not in TARGETS]
        return f"there is no target {unknown}" if unknown else ""
    if name == "dapr":
        return refusal_of_cli(root(), arguments)
    try:
        parse(PROGRAMS[name], arguments)
    except ValueError as error:
        return str(error)
    return ""


def refusal_of_cli(command: click.Command, arguments: list[str]) -> str:
    context = click.Context(command, info_name="dapr")
    try:
        while isinstance(command, click.Group):
            context = command.make_context(context.info_name, arguments, context.parent)
            arguments = [*context._protected_args, *context.args]
            if not arguments:
                return ""
            name, found, arguments = command.resolve_command(context, arguments)
            assert found is not None
            command = found
            context = click.Context(command, info_name=name, parent=context)
        command.make_context(context.info_name, arguments, context.parent)
    except click.BadParameter as error:
        # Files and directories of the reader's are not here; a missing argument is a mistake.
        return error.format_message() if isinstance(error, click.MissingParameter) else ""
    except click.exceptions.NoArgsIsHelpError:
        return ""
    except click.UsageError as error:
        return error.format_message()
    return ""


def test_there_are_some() -> None:
    named = {words[0] for _, words in lines()}
    assert named >= {"dapr", "daprd", "dapr-sentry", "dapr-placement", "make"}


@pytest.mark.parametrize(
    ("where", "words"), [pytest.param(w, c, id=f"{w}: {shlex.join(c)}") for w, c in lines()]
)
def test_a_command_is_taken(where: str, words: list[str]) -> None:
    assert refusal(words) == "", where


def inline() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        text = FENCED.sub("", document.read_text(encoding="utf-8"))
        for shown in dict.fromkeys(INLINE.findall(text)):
            yield str(document.relative_to(ROOT)), shown


@pytest.mark.parametrize(("where", "shown"), list(inline()))
def test_a_command_in_a_sentence_is_there(where: str, shown: str) -> None:
    """Its verbs and flags; what they are given may be left out there."""
    command: click.Command = root()
    words = shown.split()[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None, f"{where}: {shown}"
        command = found
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    if "--" in words:
        words = words[: words.index("--")]
    flags = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
    assert flags - known - {"--help"} == set(), where


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dapr runn --app-id a", "unknown command 'runn'"),
        ("sudo /opt/dapr/bin/dapr run --app-idd a", "--app-idd"),
        ("dapr init && dapr bundle load", "Missing argument"),
        ("FOO=1 daprd --app-idd a &", "app-idd"),
        ("make everything TESTS=tests", "everything"),
    ],
)
def test_a_mistake_is_found(line: str, said: str) -> None:
    assert [one for one in map(refusal, commands(line)) if one] != []
    assert said in " ".join(map(refusal, commands(line)))


def test_the_package_is_got_from_a_folder_or_a_bundle() -> None:
    """It is at no index: a stranger may have its name there."""
    for document in DOCUMENTS:
        for block in FENCED.findall(document.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if "dapr-runtime[" in line:
                    assert "--no-index" in line, f"{document.name}: {line}"
