"""Carry out a Dockerfile without a container engine: overlays, ``chroot``, and layers of OCI.

A stage that is built FROM the base image is a folder laid over it; ``RUN`` changes its root to
both. The last stage only copies: each ``COPY`` is a layer. Stages and layers are kept under a
digest of everything they were made from, so a repeat does nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.dockerfile import Instruction, Stage
from tools.oci import Blob, Layout

_SECONDS = 1800
_KEPT_SECONDS = 7 * 24 * 3600
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# The machine's way to the network, for the time of a RUN only.
_BORROWED = ("/etc/resolv.conf", "/etc/hosts", _CERTIFICATES)
_PASSED_ON = (
    "PIP_",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class BuildError(Exception):
    """An instruction failed; the text says which and how."""


@dataclass(slots=True)
class Builder:
    """Builds images from one checkout on one base."""

    checkout: Path
    root: Path
    """The base image's root file system."""
    cache: Path
    layout: Layout
    _made: dict[str, tuple[str, Path]] = field(default_factory=dict)

    def image(self, name: str, stages: list[Stage]) -> None:
        """Build an image and store it under a name. Raises ``BuildError``."""
        self._made.clear()
        if len({stage.base for stage in stages}) > 1:
            raise BuildError("every stage must be FROM the base image")
        for stage in stages[:-1]:
            self._made[stage.name] = self._build(stage)
        layers, config = [self._base_layer()], dict[str, Any]()
        for instruction in stages[-1].instructions:
            if instruction.name == "COPY":
                layers.append(self._layer(instruction))
            else:
                _configure(config, instruction)
        self.layout.save(name, layers, config)

    def forget_old(self) -> None:
        """Remove stages and layers that no image has needed for a week."""
        for path in [*(self.cache / "stages").iterdir(), *(self.cache / "layers").iterdir()]:
            if time.time() - path.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    # --- stages ---------------------------------------------------------------------------------

    def _build(self, stage: Stage) -> tuple[str, Path]:
        key = self._key(stage)
        folder = self.cache / "stages" / key
        if not folder.exists():
            new = self.cache / "stages" / f"{key}.new"
            shutil.rmtree(new, ignore_errors=True)
            (new / "made").mkdir(parents=True)
            (new / "work").mkdir()
            where = "/"
            for instruction in stage.instructions:
                if instruction.name == "WORKDIR":
                    where = instruction.text
                    _below(new / "made", where).mkdir(parents=True, exist_ok=True)
                elif instruction.name == "COPY":
                    self._copy(instruction, new / "made", where)
                elif instruction.name == "RUN":
                    self._run(instruction.text, new, where)
                else:
                    raise BuildError(f"{instruction.name} is for the last stage only")
            new.rename(folder)
        os.utime(folder)
        return key, folder / "made"

    def _key(self, stage: Stage) -> str:
        digest = hashlib.sha256(str(self.root).encode())
        for instruction in stage.instructions:
            digest.update(f"{instruction.name} {instruction.text}\n".encode())
            if instruction.name == "COPY":
                for source in self._sources(instruction):
                    _hash(digest, source)
        return digest.hexdigest()[:32]

    def _sources(self, instruction: Instruction) -> list[Path]:
        """What is copied, from the checkout or from an earlier stage."""
        stage, sources, _ = instruction.copied()
        if stage and stage not in self._made:
            raise BuildError(f"COPY {instruction.text}: there is no stage {stage} before it")
        top = self._made[stage][1] if stage else self.checkout
        return [_below(top, source) for source in sources]

    def _copy(self, instruction: Instruction, made: Path, where: str) -> None:
        folder = _below(made, str(Path(where, instruction.copied()[2])))
        for path in self._sources(instruction):
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(path, folder, symlinks=True, ignore=ignored, dirs_exist_ok=True)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / path.name)

    def _run(self, command: str, stage: Path, where: str) -> None:
        """In namespaces of its own: whatever it mounts or starts ends with it."""
        inside = stage / "root"
        inside.mkdir(exist_ok=True)
        overlay = f"lowerdir={self.root},upperdir={stage / 'made'},workdir={stage / 'work'}"
        script = [
            "set -e",
            f"mount -t overlay overlay -o {overlay} {inside}",
            f"mount -t proc proc {inside}/proc",
            f"mount -t tmpfs tmpfs {inside}/tmp",
            f"mount -t tmpfs tmpfs {inside}/dev",
            f"mknod -m 666 {inside}/dev/null c 1 3",
            f"mknod -m 666 {inside}/dev/urandom c 1 9",
            *(
                f"touch {inside}{path} && mount --bind {path} {inside}{path}"
                for path in _BORROWED
                if Path(path).exists()
            ),
            'exec chroot "$1" /bin/sh -c "cd $2 && $3"',
        ]
        separate = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        environment = {k: v for k, v in os.environ.items() if k.upper().startswith(_PASSED_ON)}
        done = subprocess.run(
            [*separate, "sh", "-c", "\n".join(script), "sh", str(inside), where, command],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            env={**environment, "PATH": _PATH, "HOME": "/root", "LANG": "C.UTF-8"},
        )
        inside.rmdir()
        if done.returncode:
            raise BuildError(f"RUN {command}\n{done.stdout}")
        self._give_back(stage / "made")

    def _give_back(self, made: Path) -> None:
        """Remove what mounting over the borrowed files left behind."""
        for path in _BORROWED:
            _below(made, path).unlink(missing_ok=True)

    # --- layers ---------------------------------------------------------------------------------

    def _base_layer(self) -> Blob:
        return self._kept(f"base-{self.root.name}", self.root, "/")

    def _layer(self, instruction: Instruction) -> Blob:
        """Of what a stage made; what its base has is in the image's own base already."""
        stage, sources, target = instruction.copied()
        if stage not in self._made or len(sources) != 1:
            raise BuildError(f"COPY {instruction.text}: expected one source of a stage")
        key, made = self._made[stage]
        source = _below(made, sources[0])
        if not source.is_dir():
            raise BuildError(f"COPY {instruction.text}: stage {stage} made no such folder")
        return self._kept(
            hashlib.sha256(f"{key} {instruction.text}".encode()).hexdigest(), source, target
        )

    def _kept(self, key: str, source: Path, target: str) -> Blob:
        note = self.cache / "layers" / key
        note.parent.mkdir(parents=True, exist_ok=True)
        if note.exists():
            blob = Blob(**json.loads(note.read_text()))
            if self.layout.path(blob.digest).exists():
                os.utime(note)
                return blob
        blob = self.layout.add_layer([(source, target)])
        note.write_text(json.dumps({"digest": blob.digest, "size": blob.size}))
        return blob


def _configure(config: dict[str, Any], instruction: Instruction) -> None:
    if instruction.name == "ENV":
        config.setdefault("Env", []).extend(f"{k}={v}" for k, v in instruction.pairs().items())
    elif instruction.name == "USER":
        config["User"] = instruction.text
    elif instruction.name == "ENTRYPOINT":
        config["Entrypoint"] = instruction.words()
    elif instruction.name == "CMD":
        config["Cmd"] = instruction.words()
    else:
        raise BuildError(f"{instruction.name} {instruction.text}: not in the last stage")


def _hash(digest: hashlib._Hash, path: Path) -> None:
    if not path.exists():
        raise BuildError(f"COPY: {path} is not there")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(path.parent)} {file.stat().st_mode}".encode())
            digest.update(file.read_bytes())


def _below(root: Path, path: str) -> Path:
    """A path of the image, in a folder that holds a part of it."""
    return root / path.strip("/")
