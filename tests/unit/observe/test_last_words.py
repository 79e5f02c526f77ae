"""What a program that ends leaves for the kubelet."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dapr_common.observe.last_words import LastWords, leave


@pytest.fixture
def logger(tmp_path: Path) -> Iterator[logging.Logger]:
    file = tmp_path / "termination-log"
    file.write_text("of the run before, and longer than anything that is said now " * 3)
    made, handler = logging.getLogger("last-words"), LastWords(file)
    made.addHandler(handler)
    yield made
    made.removeHandler(handler)


def test_the_newest_fatal_message_is_left(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    logger.critical("first")
    logger.error("no end")
    logger.critical("Fatal error from runtime: process component %s error: no route", "db")
    assert file.read_text() == "Fatal error from runtime: process component db error: no route"


def test_an_exception_is_one_line(logger: logging.Logger, tmp_path: Path) -> None:
    try:
        raise ValueError("no number")
    except ValueError:
        logger.critical("Fatal error", exc_info=True)
    assert (tmp_path / "termination-log").read_text() == "Fatal error: ValueError: no number"


def test_it_is_as_long_as_the_kubelet_reads(logger: logging.Logger, tmp_path: Path) -> None:
    logger.critical("\ud800" + "x" * 9000)
    assert len((tmp_path / "termination-log").read_bytes()) == 4096


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    leave("nobody reads it", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--app-id=a", "--resources-path=/nowhere"], "/nowhere: no such file or directory"),
        (["--app-id=a.b"], "app-id"),
        (["--no-such-flag"], "no-such-flag"),
    ],
)
def test_a_sidecar_that_cannot_start_leaves_them(
    tmp_path: Path, flags: list[str], words: str
) -> None:
    """In a process of its own, with a file in place of the kubelet's."""
    file = tmp_path / "termination-log"
    file.touch()
    program = (
        "import pathlib, sys; from dapr_common.observe import last_words; "
        f"last_words.FILE = pathlib.Path({str(file)!r}); "
        "from dapr_sidecar.__main__ import main; "
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program, *flags]
    done = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert done.returncode in (1, 2), done
    assert words in file.read_text()
