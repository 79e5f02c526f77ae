"""A bundle for ``dapr init -k`` and ``dapr upgrade -k``: its chart, and how its images get there.

Everything is looked at before anything is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dapr_cli.bundle import pushing
from dapr_cli.bundle.archives import Archive, Platform
from dapr_cli.bundle.image_names import PROGRAMS, Common, ImageName, Place, common
from dapr_cli.bundle.installing import checked
from dapr_cli.bundle.manifest import CHART, Manifest
from dapr_cli.bundle.registry import Access
from dapr_cli.console import Console
from dapr_cli.errors import CliError
from dapr_cli.kube.nodes import Node, nodes
from dapr_common.kube.api_errors import ForbiddenError
from dapr_common.kube.client import KubeClient
from dapr_common.kube.yaml_text import load_yaml

Values = dict[str, Any]
_REGISTRY = "global.registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterBundle:
    """A bundle whose files are as they were."""

    folder: Path
    manifest: Manifest
    images: Common | None
    """Of the chart's images in it."""
    defaults: Mapping[str, str]
    """Registry and tag that the chart has by itself."""
    place: Place | None
    """Where they are to be pushed."""
    access: Access
    sets: Sequence[str]
    """What the user gave as ``--set``."""
    console: Console

    @property
    def chart(self) -> Path:
        """The folder of the chart."""
        return self.folder / CHART

    @property
    def values(self) -> Values:
        """What holds for a release whatever it was given before."""
        found = {"registry": str(self.place)} if self.place is not None else {}
        if self.images is not None and self.images.tag != self.defaults["tag"]:
            found["tag"] = self.images.tag
        return {"global": found} if found else {}

    @property
    def fallback(self) -> Values:
        """What holds where nobody says otherwise."""
        if self.images is None or self.images.registry == self.defaults["registry"]:
            return {}
        return {"global": {"registry": self.images.registry}}

    async def prepare(self, client: KubeClient, values: Values) -> None:
        """Look whether the images fit the nodes, and bring them or say how. Raises ``CliError``.

        ``values`` are those that the release will have.
        """
        if self.images is None:
            return
        found = await self._nodes(client)
        if found is not None:
            require_platforms(self._platforms(), found, self.console)
        if self.place is not None:
            await pushing.push(self.folder, self.manifest, self.place, self.access, self.console)
            return
        registry = self._registry(values)
        if registry == self.images.registry:
            self._look_for_images(found)
        else:
            self.console.info(
                f"The cluster takes the images from {registry}: 'dapr bundle push {self.folder} "
                f"--registry {registry}' brings those of the bundle there, if they are not"
            )

    def _registry(self, values: Values) -> str:
        given = set_value(self.sets, _REGISTRY)
        return given or str(
            (values.get("global") or {}).get("registry") or self.defaults["registry"]
        )

    def _needed(self) -> dict[ImageName, Path]:
        """The chart's images and their files."""
        named = {ImageName.parse(n): self.folder / f for n, f in self.manifest.images.items()}
        return {name: file for name, file in named.items() if name.program in PROGRAMS}

    def _platforms(self) -> dict[str, frozenset[Platform]]:
        found = {}
        for name, file in self._needed().items():
            with Archive(file, str(name)) as archive:
                found[str(name)] = archive.platforms()
        return found

    async def _nodes(self, client: KubeClient) -> list[Node] | None:
        try:
            return await nodes(client)
        except ForbiddenError:
            self.console.warning(
                "Your account may not list the cluster's nodes: whether the images fit them and "
                "are there was not looked at"
            )
            return None

    def _look_for_images(self, found: list[Node] | None) -> None:
        if found is not None:
            missing = without_images(found, set(map(str, self._needed())))
            if found and not missing:
                self.console.success("The nodes have the images of the bundle")
                return
            where = f"these nodes: {', '.join(missing)}" if len(missing) < len(found) else "no node"
            what = "are missing on" if len(missing) < len(found) else "are on"
            self.console.warning(
                f"The images of the bundle {what} {where}: pods start once they are there (nodes "
                "report new images within a minute)"
            )
        self.console.info(f"On each node: dapr bundle load {self.folder}")
        self.console.info(f"With kind: dapr bundle load {self.folder} --kind NAME")
        self.console.info(
            "With a registry: the same command with --image-registry HOST/PATH pushes them"
        )


def from_bundle(
    folder: Path,
    *,
    tag: str,
    registry: str,
    access: Access,
    sets: Sequence[str],
    console: Console,
) -> ClusterBundle:
    """An unpacked bundle, every file checked. Raises ``CliError``.

    ``tag`` and ``registry`` are what the user asked for; empty texts leave it to the bundle.
    """
    folder = folder.absolute()
    manifest = checked(folder, console)
    images = common(manifest.images)
    if images is not None and tag not in ("", images.tag):
        raise CliError(
            f"the images of the bundle have the tag {images.tag}, not {tag}",
            "Leave --runtime-version (and DAPR_RUNTIME_VERSION) out.",
        )
    if images is None:
        console.info("The bundle has no images of the chart: the cluster must find them elsewhere")
    pushed = images is not None and registry
    return ClusterBundle(
        folder=folder,
        manifest=manifest,
        images=images,
        defaults={} if images is None else _chart_defaults(folder / CHART / "values.yaml"),
        place=Place.parse(registry, "--image-registry") if pushed else None,
        access=access,
        sets=sets,
        console=console,
    )


def _chart_defaults(file: Path) -> dict[str, str]:
    """What the chart's own values say of its images. Raises ``CliError``."""
    try:
        found = load_yaml(file.read_text(encoding="utf-8")).get("global") or {}
        return {name: str(found.get(name) or "") for name in ("registry", "tag")}
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise CliError(f"{file} cannot be read: {error}") from error


def require_platforms(
    images: Mapping[str, Collection[Platform]], found: Collection[Node], console: Console
) -> None:
    """Raise ``CliError`` for an image that no node can run; warn of nodes that cannot run one."""
    for name, platforms in images.items():
        unfit = [node for node in found if Platform(node.os, node.architecture) not in platforms]
        if not unfit:
            continue
        runs = f"{name} is for {_listed(map(str, platforms))}"
        theirs = _listed(f"{node.os}/{node.architecture}" for node in unfit)
        if len(unfit) == len(found):
            raise CliError(
                f"{runs}, the cluster's nodes are {theirs}: nothing was changed",
                "Make the bundle with images for these nodes.",
            )
        console.warning(
            f"{runs}: it does not run on {_listed(node.name for node in unfit)} ({theirs})"
        )


def without_images(found: Iterable[Node], names: set[str]) -> list[str]:
    """The nodes that do not have all of the images."""
    return sorted(node.name for node in found if not names <= node.images)


def set_value(sets: Iterable[str], key: str) -> str:
    """What the user set a value of the chart to; the last one counts, as Helm has it."""
    pairs = [pair.partition("=") for text in sets for pair in text.split(",")]
    return next((value for name, _, value in reversed(pairs) if name.strip() == key), "")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))
