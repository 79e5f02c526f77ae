"""The chart and the definitions of Dapr's kinds, which come with the CLI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dapr_cli.errors import CliError
from dapr_common.kube.kinds import KubeObject
from dapr_common.kube.yaml_text import load_yaml

_PACKAGE = Path(__file__).parents[1]
_PLACES = (
    _PACKAGE / "data" / "chart",  # where a wheel has it (pyproject.toml)
    _PACKAGE.parents[1] / "charts" / "dapr",  # in a checkout
)
_PLACEHOLDER = "replaceme"


def chart() -> Path:
    """The folder of the Helm chart. Raises ``CliError``."""
    for place in _PLACES:
        if place.is_dir():
            return place
    raise CliError(
        f"{_PLACES[0]} is missing: this installation of the CLI is not complete",
        "Install the package dapr-runtime[cli] again.",
    )


def definitions(namespace: str, place: Path | None = None) -> Iterator[KubeObject]:
    """Every CustomResourceDefinition, with conversions done by the operator in ``namespace``.

    ``place``: the folder of another chart.
    """
    for path in sorted(((place or chart()) / "crds").glob("*.yaml")):
        body: KubeObject = load_yaml(path.read_text(encoding="utf-8"))
        webhook = body["spec"].get("conversion", {}).get("webhook", {})
        service = webhook.get("clientConfig", {}).get("service", {})
        if service.get("namespace") == _PLACEHOLDER:
            service["namespace"] = namespace
        yield body
