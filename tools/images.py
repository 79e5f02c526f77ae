"""Build the container images: ``python -m tools.images [PROGRAM...]``, or ``make images``.

With docker or podman they are built by it. Without, and as root, the same Dockerfiles are carried
out over a base image made here, into a folder in OCI's layout. ``TAG`` and ``REGISTRY`` name them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tools.alone import alone
from tools.base_image import BaseImageError, root_file_system
from tools.dockerfile import DockerfileError, parse
from tools.oci import Layout
from tools.stages import Builder, BuildError

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path.home() / ".cache" / "dapr-runtime-tools"
LAYOUT = CACHE / "images"
# Folder → image.
IMAGES = {
    "dashboard": "dashboard",
    "injector": "injector",
    "operator": "operator",
    "placement": "placement",
    "sentry": "sentry",
    "sidecar": "daprd",
}
# What end-to-end tests need beside them.
TEST_IMAGES = {"tests/cluster/redis": "redis"}
_ENGINES = ("docker", "podman")
_ENGINE_SECONDS = 3600
_NO_ENGINE = """\
No container engine answers (docker, podman), and without one images are built by root only:
start one, or run this as root."""


def main(arguments: Sequence[str]) -> int:
    """Build the programs named, or all."""
    known = {**IMAGES, **TEST_IMAGES}
    if unknown := [name for name in arguments if name not in known]:
        print(f"nothing to build: {', '.join(unknown)}; there are {', '.join(known)}")
        return 2
    folders = arguments or list(IMAGES)
    there = [folder for folder in folders if (ROOT / folder / "Dockerfile").exists()]
    try:
        if found := engine():
            _build_by(found, there)
        elif os.geteuid() == 0:
            with alone(CACHE / "images.lock", "the images"):
                _build_here(there)
        else:
            print(_NO_ENGINE, file=sys.stderr)
            return 1
    except (BaseImageError, BuildError, DockerfileError, subprocess.SubprocessError) as error:
        print(f"The images could not be built: {error}", file=sys.stderr)
        return 1
    return 0


def image_name(folder: str) -> str:
    """The full name of a program's image, the one the chart has by default."""
    registry = os.environ.get("REGISTRY") or "localhost/dapr"
    name = {**IMAGES, **TEST_IMAGES}[folder]
    return f"{registry}/{name}:{os.environ.get('TAG') or version()}"


def built_images() -> list[str]:
    """The names of the images that there is something to build from."""
    folders = [*IMAGES, *TEST_IMAGES]
    return [image_name(folder) for folder in folders if (ROOT / folder / "Dockerfile").exists()]


def version() -> str:
    """Of the product."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def engine() -> str:
    """The container engine that answers; empty if none does. ``ENGINE=none`` asks none."""
    wanted = os.environ.get("ENGINE")
    for name in (wanted,) if wanted else _ENGINES:
        if shutil.which(name) is None:
            continue
        asked = subprocess.run([name, "info"], check=False, capture_output=True, timeout=60)
        if asked.returncode == 0:
            return name
    return ""


def _build_by(found: str, folders: Sequence[str]) -> None:
    for folder in folders:
        command = [found, "build", "--tag", image_name(folder)]
        if base := os.environ.get("BASE"):
            command += ["--build-arg", f"BASE={base}"]
        command += ["--file", f"{folder}/Dockerfile", "."]
        subprocess.run(command, cwd=ROOT, check=True, timeout=_ENGINE_SECONDS)


def _build_here(folders: Sequence[str]) -> None:
    layout = Layout(LAYOUT)
    builder = Builder(ROOT, root_file_system(CACHE), CACHE, layout)
    for folder in folders:
        started = time.monotonic()
        name = image_name(folder)
        print(f"{name} …", end=" ", flush=True)
        builder.image(name, parse(ROOT / folder / "Dockerfile"))
        size = layout.size(layout.names()[name]) / 1e6
        print(f"{size:.0f} MB in {time.monotonic() - started:.1f} s", flush=True)
    builder.forget_old()
    layout.prune()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
