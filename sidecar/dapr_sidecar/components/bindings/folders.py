"""Files that a binding may touch: those below one folder, whatever a request names."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from dapr_sidecar.components.metadata import SettingsError

_FORBIDDEN = tuple(map(Path, ("/proc", "/sys", "/boot", "/var/run/secrets", "/run/secrets")))
_PART = 256 << 10
T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Do file work off the loop."""
    return await asyncio.get_running_loop().run_in_executor(None, work)


def made_folder(text: str, field: str) -> Path:
    """The real path of a manifest's folder; made when it is not there.

    ``field`` is the metadata field's name. Raises ``SettingsError``, also for folders of the
    machine that no binding may use.
    """
    root = Path(os.path.realpath(text))
    if (forbidden := forbidden_folder(root)) is not None:
        raise SettingsError(
            f"invalid metadata field '{field}': '{text}': {forbidden} may not be used"
        )
    try:
        root.mkdir(0o777, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"invalid metadata field '{field}': '{text}': {error.strerror}"
        ) from error
    return root


def forbidden_folder(path: Path) -> Path | None:
    """The folder of the machine, closed to bindings, that a real path is in or is."""
    return next((one for one in _FORBIDDEN if one == path or one in path.parents), None)


def below(root: Path, path: Path) -> Path | None:
    """The real path, when it is the folder or below it; ``root`` is a real path itself.

    A folder as large as ``/`` has some below it that no binding may use either.
    """
    found = Path(os.path.realpath(path))
    if forbidden_folder(found) is not None:
        return None
    return found if found == root or root in found.parents else None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file and its folders; readers see the old one or the whole new one."""
    writing = Replacement(path)
    try:
        writing.write(content)
        writing.keep()
    except BaseException:
        writing.drop()
        raise


class Replacement:
    """A new file that takes a path's place when it is whole."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``."""
        path.parent.mkdir(0o777, parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(f"{path.name} is a directory")
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        self._path = path
        self._temporary = Path(temporary)
        self._file = os.fdopen(descriptor, "wb")

    def write(self, part: bytes) -> None:
        self._file.write(part)

    def keep(self) -> None:
        """It is whole."""
        self._file.close()
        self._temporary.chmod(0o644)
        self._temporary.replace(self._path)

    def drop(self) -> None:
        """It came to nothing; harmless after ``keep``."""
        with suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)


class Folder:
    """The folder that the manifest's ``filesRoot`` names; without it no file is touched.

    What an app sends must not make the sidecar read its own secrets or write over its programs.
    """

    def __init__(self, given: str) -> None:
        self._given = given
        self._root: Path | None = None

    async def open(self) -> None:
        """Raises ``SettingsError``."""
        if self._given:
            self._root = await in_thread(lambda: made_folder(self._given, "filesRoot"))

    async def path(self, name: str, field: str) -> Path:
        """A file by its absolute path or its path from the folder.

        ``field`` is what the request calls it. Raises ``ValueError`` or ``PermissionError``.
        """
        root = self._root
        if root is None:
            raise ValueError(
                f"'{field}' is not allowed: the component's metadata field 'filesRoot' names "
                "no folder that files may be in"
            )
        found = await in_thread(lambda: below(root, root / name))
        if found is None or found == root:
            raise PermissionError(f"invalid {field} '{name}': it is not inside the 'filesRoot'")
        return found

    async def path_in(self, directory: str, name: str, field: str) -> Path:
        """The same for a file in one of the folder's directories, and not outside of that."""
        place = await self.path(directory, field)
        found = await in_thread(lambda: below(place, place / name.lstrip("/")))
        if found is None or found == place:
            raise PermissionError(f"'{name}' is not inside the {field} '{directory}'")
        return found

    async def write(self, path: Path, parts: AsyncIterator[bytes]) -> None:
        """Have a file hold what comes, once all of it has come. Raises ``OSError``."""
        writing = await in_thread(lambda: Replacement(path))
        try:
            async for part in parts:
                await in_thread(partial(writing.write, part))
            await in_thread(writing.keep)
        finally:
            await in_thread(writing.drop)


async def file_size(path: Path) -> int:
    """In bytes. Raises ``OSError``, also for what is no plain file."""
    status = await in_thread(path.stat)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path.name} is no plain file")
    return status.st_size


async def file_parts(path: Path, size: int) -> AsyncIterator[bytes]:
    """The first ``size`` bytes of a file: what is added meanwhile was not promised."""
    file = await in_thread(lambda: path.open("rb"))
    try:
        while size > 0 and (part := await in_thread(partial(file.read, min(_PART, size)))):
            size -= len(part)
            yield part
    finally:
        await in_thread(file.close)
