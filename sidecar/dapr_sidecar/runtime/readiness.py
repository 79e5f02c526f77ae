"""Whether this sidecar takes traffic, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dapr_common.observe.health import Readiness

_COMPONENTS = "components"


class SidecarReadiness(Readiness):
    """Names components that are in the way, and their errors."""

    def __init__(self, targets: Iterable[str]) -> None:
        super().__init__(targets)
        self._components: Mapping[str, str] = {}

    def missing_components(self, errors: Mapping[str, str]) -> None:
        """These required components do not work; the others do."""
        self._components = dict(errors)
        if errors:
            self.unready(_COMPONENTS)
        else:
            self.ready(_COMPONENTS)

    def missing(self) -> list[str]:
        """The targets that are not ready; components with what keeps them from working."""
        shown = [name for name in super().missing() if name != _COMPONENTS]
        return shown + [f"component {name} ({error})" for name, error in self._components.items()]
