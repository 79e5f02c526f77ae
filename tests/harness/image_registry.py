"""A real registry of images, the Go program ``registry`` (tools/programs.py builds it)."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.programs import Program, accepts_connections, free_port

USER, PASSWORD = "someone", "open sesame"
_HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy\n"
_CACHE = Path.home() / ".cache" / "dapr-runtime-tools" / "bin"
_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


def registry_program() -> str:
    """The path of the program; empty when it is not here."""
    built = _CACHE / "registry"
    return str(built) if built.is_file() else shutil.which("registry") or ""


class ImageRegistry(Program):
    """On a free port; what is pushed lies in its folder. ``auth`` is as its settings have it."""

    def __init__(
        self,
        folder: Path,
        *,
        auth: dict[str, Any] | None = None,
        with_password: bool = False,
        tls: tuple[Path, Path] | None = None,
        before: Sequence[str] = (),
        port: int = 0,
    ) -> None:
        """``tls`` are certificate and key; ``before`` are words that run it somewhere else."""
        self.port = port or free_port()
        self.place = f"127.0.0.1:{self.port}"
        self._scheme = "https" if tls else "http"
        self._elsewhere = bool(before)
        if with_password:
            (folder / "htpasswd").write_text(_HTPASSWD)
            auth = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        http: dict[str, Any] = {"addr": self.place, "secret": "of no use to others"}
        if tls:
            http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        config = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "text"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": http,
            **({"auth": auth} if auth else {}),
        }
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        command = [*before, registry_program(), "serve", str(folder / "config.yml")]
        env = {"OTEL_TRACES_EXPORTER": "none"}
        super().__init__(command, name="registry", exit_code=None, env=env)

    def is_ready(self) -> bool:
        if self._elsewhere:
            return "listening on" in self.log
        return accepts_connections(self.port)

    def requests(self, method: str, part: str = "") -> list[str]:
        """The lines of its log about requests of a kind that were answered."""
        sign = f'"{method} /v2/'
        return [line for line in self.lines if sign in line and part in line]

    def pull(
        self, repository: str, reference: str, context: ssl.SSLContext | None = None
    ) -> tuple[str, dict[str, bytes]]:
        """An image's digest and all it consists of, by digest, each as it really is."""
        content = self._get(f"{repository}/manifests/{reference}", context)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        found = {digest: content}
        document = json.loads(content)
        for below in document.get("manifests", ()):
            found.update(self.pull(repository, below["digest"], context)[1])
        for below in (*document.get("layers", ()), *filter(None, [document.get("config")])):
            blob = self._get(f"{repository}/blobs/{below['digest']}", context)
            found[f"sha256:{hashlib.sha256(blob).hexdigest()}"] = blob
            assert below["digest"] in found
        return digest, found

    def tags(self, repository: str) -> list[str]:
        """Of a repository; empty when nothing was ever pushed there."""
        try:
            return list(json.loads(self._get(f"{repository}/tags/list", None))["tags"] or ())
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise
            return []

    def _get(self, path: str, context: ssl.SSLContext | None) -> bytes:
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Accept": _TYPES, "Authorization": f"Basic {login}"}
        request = urllib.request.Request(
            f"{self._scheme}://{self.place}/v2/{path}", headers=headers
        )
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return bytes(answer.read())


def docker_config(folder: Path, host: str, user: str = USER, password: str = PASSWORD) -> Path:
    """A folder with a ``config.json`` as ``docker login`` writes it."""
    folder.mkdir(exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder
