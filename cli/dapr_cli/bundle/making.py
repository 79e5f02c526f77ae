"""Make a bundle: wheels of the product and of all it needs, the chart, images, checksums."""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions, version
from pathlib import Path

from dapr_cli.bundle import pip
from dapr_cli.bundle.images import export
from dapr_cli.bundle.manifest import (
    CHART,
    IMAGES,
    PRODUCT,
    WHEELS,
    Manifest,
    contents,
    megabytes,
    this_platform,
    this_python,
)
from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube import shipped
from dapr_common import RUNTIME_VERSION

_ROOT = Path(__file__).parents[3]  # in a checkout
_COLLECTING = "Collecting "
_TOLD_EVERY = 10
_README = """\
# Dapr runtime {version} for machines without a network

For Python {python} on {platform}. In this directory:

    python{python} -m venv --without-pip ~/dapr
    ~/dapr/bin/python wheels/{pip}/pip install --no-index --find-links wheels '{product}[cli]'
    ~/dapr/bin/dapr init --from-dir .

The last command checks every file and installs the runtime into .dapr/runtime. With -k it installs
the chart of this bundle into your cluster; images that are here get there by --image-registry, or
before it by 'dapr bundle load .' on every node. 'sha256sum -c SHA256SUMS' checks the files, too.
"""


def default_name() -> str:
    """Without the ending: also the directory in the archive."""
    return f"dapr-bundle-{version(PRODUCT)}-{this_platform()}-py{this_python()}"


def create(
    target: Path,
    console: Console,
    *,
    source: Path | None,
    extras: str,
    images: Path | None,
    seconds: float,
) -> Manifest:
    """Write the archive, whole or not at all. Raises ``CliError``."""
    try:
        with tempfile.TemporaryDirectory(prefix="dapr-bundle-") as temporary:
            folder = Path(temporary) / default_name()
            folder.mkdir()
            console.pending(f"Building the wheel of {PRODUCT} {version(PRODUCT)}")
            wheels = folder / WHEELS
            product = _product(wheels, source, seconds)
            _dependencies(wheels, product, extras, console, seconds)
            console.pending("Adding the chart")
            shutil.copytree(shipped.chart(), folder / CHART)
            names = export(images, folder / IMAGES, console) if images else {}
            manifest = _described(folder, extras, names)
            _pack(folder, target, console)
            return manifest
    except OSError as error:
        raise CliError(f"{error.filename or target} cannot be written: {error.strerror}") from error


def _product(wheels: Path, source: Path | None, seconds: float) -> Path:
    """The product's wheel: of ``source``, of this checkout, or of the version in use."""
    wheels.mkdir()
    if source is not None and source.suffix == ".whl":
        return Path(shutil.copy(source, wheels))
    origin = str(source or (_ROOT if _is_checkout() else f"{PRODUCT}=={version(PRODUCT)}"))
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(wheels), origin]
    try:
        pip.run(words, seconds=seconds, heard=lambda line: None)
    except CliError as error:
        raise CliError(error.message, "--source names the product's folder or wheel.") from error
    found = list(wheels.glob(f"{PRODUCT.replace('-', '_')}-*.whl"))
    if not found:
        raise CliError(f"{origin} has no package {PRODUCT}")
    return found[0]


def _dependencies(
    wheels: Path, product: Path, extras: str, console: Console, seconds: float
) -> None:
    """What the product needs, as wheels for this platform; and pip, which installs them."""
    progress = _Progress(console)
    constraints = wheels.parent / "constraints.txt"
    constraints.write_text(_constraints(), encoding="utf-8")
    wanted = [f"{product}[{extras}]" if extras else str(product), "pip"]
    words = ["wheel", "--wheel-dir", str(wheels), "--constraint", str(constraints), *wanted]
    console.pending("Fetching what it needs")
    try:
        pip.run([sys.executable, "-m", "pip", *words], seconds=seconds, heard=progress.heard)
    except CliError as error:
        raise CliError(
            error.message, "pip's index must be reachable: 'pip config list'."
        ) from error
    size = sum(file.stat().st_size for file in wheels.iterdir())
    console.success(f"{len(list(wheels.iterdir()))} wheels, {megabytes(size)}")


def _constraints() -> str:
    """The versions that were tested; without a checkout those that are installed here."""
    if _is_checkout():
        return (_ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = {one.name: one.version for one in distributions() if one.name not in (PRODUCT, "pip")}
    return "".join(f"{name}=={number}\n" for name, number in sorted(pins.items()))


def _is_checkout() -> bool:
    return (_ROOT / "pyproject.toml").is_file() and (_ROOT / "constraints.txt").is_file()


def _described(folder: Path, extras: str, images: dict[str, str]) -> Manifest:
    text = _README.format(
        version=version(PRODUCT),
        python=this_python(),
        platform=this_platform(),
        product=PRODUCT,
        pip=next((folder / WHEELS).glob("pip-*.whl")).name,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    manifest = Manifest(
        version=version(PRODUCT),
        runtime_version=RUNTIME_VERSION,
        python=this_python(),
        platform=this_platform(),
        extras=extras,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        files=contents(folder),
        images={name: f"{IMAGES}/{file}" for name, file in images.items()},
    )
    manifest.write(folder)
    return manifest


def _pack(folder: Path, target: Path, console: Console) -> None:
    console.pending(f"Packing {target}")
    unfinished = target.with_name(f".{target.name}.part")
    try:
        with tarfile.open(unfinished, "w:gz", compresslevel=1) as archive:
            archive.add(folder, folder.name, filter=_nobodys)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whoever unpacks it owns it."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


class _Progress:
    """Says after every few packages how far it is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._names: list[str] = []

    def heard(self, line: str) -> None:
        if line.startswith(_COLLECTING):
            self._names.append(line.removeprefix(_COLLECTING).split()[0])
            if len(self._names) % _TOLD_EVERY == 0:
                self._console.pending(f"{len(self._names)} packages, now {self._names[-1]}")


def names(images: Sequence[str]) -> str:
    """A list for people."""
    return ", ".join(images) or "none"
