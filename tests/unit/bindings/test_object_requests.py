"""What requests to object stores may say, and which files they may name."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from dapr_sidecar.components.bindings.folders import Folder, file_parts, file_size
from dapr_sidecar.components.bindings.objects import (
    Arguments,
    Budget,
    as_base64,
    custom,
    flag,
    from_base64,
    header,
    in_parallel,
    needed,
    share_seconds,
    unquoted,
)
from dapr_sidecar.components.metadata import SettingsError


async def parts(*content: bytes) -> AsyncIterator[bytes]:
    for one in content:
        yield one


@pytest.mark.parametrize(
    ("data", "stored"),
    [
        (b'"he said \\"hi\\""', b'he said "hi"'),
        (b'{"a":"b"}', b'{"a":"b"}'),
        (b'"a" and "b"', b'"a" and "b"'),
        (b'"', b'"'),
        (b"null", b"null"),
        (b"\xff\x00", b"\xff\x00"),
    ],
)
def test_a_json_string_is_its_text(data: bytes, stored: bytes) -> None:
    assert unquoted(data) == stored


def test_base64() -> None:
    assert from_base64(b"aGk=\n") == b"hi"
    with pytest.raises(ValueError, match="decodeBase64"):
        from_base64(b"not base64!")


@pytest.mark.parametrize("sizes", [(0,), (1, 1, 1, 1), (2, 3, 4, 5), (1000, 1)])
async def test_base64_of_what_arrives_in_parts(sizes: tuple[int, ...]) -> None:
    content = [bytes([size % 256]) * size for size in sizes]
    found = b"".join([part async for part in as_base64(parts(*content))])
    assert found == base64.b64encode(b"".join(content))


def test_metadata() -> None:
    assert needed({"key": "k"}, "key") == "k"
    with pytest.raises(ValueError, match="required metadata not set: key"):
        needed({"key": ""}, "key")
    assert flag({}, "a", True)
    assert not flag({"a": "false"}, "a", True)
    assert flag({"a": "true"}, "a", False)
    given = {"known": "1", "own": "2", "traceparent": "00-x"}
    assert dict(custom(given, frozenset({"known"}))) == {"own": "2"}


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "ü", "a\0"])
def test_what_is_no_header(value: str) -> None:
    with pytest.raises(ValueError, match="'contentType'"):
        header("contentType", value)


@pytest.mark.parametrize(("text", "seconds"), [("15m", 900), ("168h", 604800), ("1s", 1)])
def test_how_long_a_url_is_good(text: str, seconds: int) -> None:
    assert share_seconds(text, "presignTTL") == seconds


@pytest.mark.parametrize("text", ["soon", "", "0s", "-1m", "169h", "500ms"])
def test_how_long_a_url_cannot_be_good(text: str) -> None:
    with pytest.raises(ValueError, match="'presignTTL'"):
        share_seconds(text, "presignTTL")


# --- data ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"null", b"{}", b"  "])
def test_no_arguments(data: bytes) -> None:
    arguments = Arguments.read(data)
    assert arguments.text("prefix") == ""
    assert arguments.number("maxResults", 7, 9) == 7
    assert arguments.concurrency() == 10
    assert arguments.items("items", "key") == []
    assert arguments.texts("keys") == []
    assert not arguments.inner("include").is_set("metadata")


def test_arguments() -> None:
    arguments = Arguments.read(
        b'{"prefix":"p","maxResults":3,"concurrency":1000,"keys":["a"],"include":{"copy":true},'
        b'"items":[{"key":"k","data":"text"},{"key":"l","data":{"a":1}}]}'
    )
    assert arguments.text("prefix") == "p"
    assert arguments.number("maxResults", 7, 9) == 3
    assert arguments.number("maxResults", 7, 2) == 2
    assert arguments.concurrency() == 64
    assert arguments.texts("keys") == ["a"]
    assert arguments.inner("include").is_set("copy")
    first, second = arguments.items("items", "key")
    assert (first.content(), second.content()) == (b"text", b'{"a":1}')


Read = Callable[[Arguments], Any]


@pytest.mark.parametrize(
    ("data", "read", "message"),
    [
        (b'{"prefix":1}', lambda a: a.text("prefix"), "'data.prefix': expected a text"),
        (b'{"n":"3"}', lambda a: a.number("n", 1, 9), "'data.n': expected a whole number"),
        (b'{"n":true}', lambda a: a.number("n", 1, 9), "'data.n': expected a whole number"),
        (b'{"n":-1}', lambda a: a.number("n", 1, 9), "'data.n': expected a whole number"),
        (b'{"concurrency":-1}', lambda a: a.concurrency(), "greater than 0"),
        (b'{"keys":["a",1]}', lambda a: a.texts("keys"), "'data.keys': expected a list of names"),
        (b'{"keys":[""]}', lambda a: a.texts("keys"), "'data.keys': expected a list of names"),
        (b'{"items":{}}', lambda a: a.items("items", "key"), "'data.items': expected a list"),
        (
            b'{"items":[{"key":"a"},{}]}',
            lambda a: a.items("items", "key"),
            r"missing field 'data.items\[1\].key'",
        ),
        (b'{"i":1}', lambda a: a.inner("i"), "'data.i': expected an object"),
        (
            b'{"i":{"c":"x"}}',
            lambda a: a.inner("i").is_set("c"),
            "'data.i.c': expected true or false",
        ),
    ],
)
def test_arguments_that_are_wrong_are_named(data: bytes, read: Read, message: str) -> None:
    found = Arguments.read(data)
    with pytest.raises(ValueError, match=message):
        read(found)


@pytest.mark.parametrize("data", [b"[1]", b"{", b'"text"', b"1"])
def test_what_are_no_arguments(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected a JSON object"):
        Arguments.read(data)


# --- many at once -------------------------------------------------------------------------------


async def test_no_more_at_once_than_allowed() -> None:
    running, most = 0, 0

    async def work(item: int) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return {"item": item}

    assert await in_parallel(range(20), 3, work) == [{"item": item} for item in range(20)]
    assert most == 3
    assert await in_parallel((), 3, work) == []


async def test_the_first_failure_ends_them_all() -> None:
    async def work(item: int) -> dict[str, Any]:
        if item == 1:
            raise ValueError("number one")
        await asyncio.Event().wait()
        return {}

    with pytest.raises(ValueError, match="number one"):
        await in_parallel(range(5), 5, work)


async def test_an_answer_has_its_limit() -> None:
    budget = Budget(5)
    assert await budget.whole(parts(b"ab", b"c")) == b"abc"
    with pytest.raises(ValueError, match="larger than"):
        await budget.whole(parts(b"abc"))
    assert await budget.whole(parts(b"de")) == b"de"  # what failed holds nothing


# --- files --------------------------------------------------------------------------------------


async def test_no_file_without_a_folder(tmp_path: Path) -> None:
    folder = Folder("")
    await folder.open()
    with pytest.raises(ValueError, match=r"'filePath' is not allowed.*'filesRoot'"):
        await folder.path(str(tmp_path / "f"), "filePath")


async def test_files_below_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "made" / "here"
    folder = Folder(str(root))
    await folder.open()
    assert await folder.path("d/f", "filePath") == root / "d/f"
    assert await folder.path(str(root / "g"), "filePath") == root / "g"
    assert await folder.path_in("d", "sub/f", "destinationDir") == root / "d/sub/f"


async def test_files_outside_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    folder = Folder(str(root))
    await folder.open()
    (root / "link").symlink_to(tmp_path)
    for name in ("../x", str(tmp_path / "x"), "link/x", "d/../../x", ".", str(root), "/etc/passwd"):
        with pytest.raises(PermissionError, match="not inside the 'filesRoot'"):
            await folder.path(name, "filePath")
    for name in ("../f", "../../f", "link/f", "."):
        with pytest.raises(PermissionError, match="not inside"):
            await folder.path_in("d", "../link/f" if name == "link/f" else name, "destinationDir")


@pytest.mark.parametrize("path", ["/proc/self", "/sys", "/var/run/secrets/x"])
async def test_folders_of_the_machine_are_refused(path: str) -> None:
    with pytest.raises(SettingsError, match=r"'filesRoot'.*may not be used"):
        await Folder(path).open()


async def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    await folder.open()
    path = await folder.path("d/f", "filePath")
    await folder.write(path, parts(b"one", b"two"))
    assert path.read_bytes() == b"onetwo"

    async def breaks() -> AsyncIterator[bytes]:
        yield b"half"
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await folder.write(path, breaks())
    assert path.read_bytes() == b"onetwo"
    assert [one.name for one in path.parent.iterdir()] == ["f"]


async def test_files_are_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "f"
    content = bytes(range(256)) * 4000
    path.write_bytes(content)
    size = await file_size(path)
    path.write_bytes(content + b"more")  # what is added meanwhile is not sent
    found = [part async for part in file_parts(path, size)]
    assert b"".join(found) == content
    assert len(found) > 1
    with pytest.raises(OSError, match="no plain file"):
        await file_size(tmp_path)
    with pytest.raises(FileNotFoundError):
        await file_size(tmp_path / "none")
