"""What the tests measured, beside the same of the original, in one table at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

# What Dapr 1.18.3 needed on the same kind of one-node cluster.
_ORIGINAL = {
    "helm install --wait, s": "7-23",
    "17 annotated pods ready, s": "8-10",
    "component changed to used, p50 ms": "12-14",
    "component changed to used, p99 ms": "19-22",
    "-dapr Service made, s": "0.01-0.2",
    "invocation with mTLS, p50 ms": "1.6-1.9",
    "SIGKILLed sidecar ready again, s": "2.2",
    "component after operator replaced, s": "up to 17.5",
    "missed pod healed, s": "never",
    "requests failed by a live Resiliency": "60 of 280",
    "requests failed by a live Configuration": "5 of 193",
    "requests failed by a broken component": "583 of 676",
    "wrong manifests refused": "0 of 9",
}


class Figures:
    """Rows in the order they came."""

    def __init__(self) -> None:
        self._rows: dict[str, str] = {}

    def add(self, name: str, value: object) -> None:
        """One that was measured; the newest counts."""
        self._rows[name] = f"{value:.3g}" if isinstance(value, float) else str(value)

    def table(self) -> list[str]:
        """Its lines; none if nothing was measured."""
        if not self._rows:
            return []
        lines = [f"{'':42}{'ours':>14}{'original':>14}"]
        for name, value in self._rows.items():
            lines.append(f"{name:42}{value:>14}{_ORIGINAL.get(name, ''):>14}")
        return lines


def quantile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of them are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
