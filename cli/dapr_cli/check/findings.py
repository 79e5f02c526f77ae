"""What a check has found: a problem, where it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Severity = Literal["error", "warning"]
EXPIRY_WARNING = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """An error when something does not work, a warning when it may stop to, or is not meant so."""

    severity: Severity
    area: str
    """Which check it is of, such as ``ports``."""
    subject: str
    """The file, sidecar or object that is meant."""
    problem: str
    fix: str

    def record(self) -> dict[str, str]:
        """As ``-o json`` and ``yaml`` print it."""
        return {
            "severity": self.severity,
            "area": self.area,
            "subject": self.subject,
            "problem": self.problem,
            "fix": self.fix,
        }

    def row(self) -> dict[str, object]:
        """One row of the table; every cell is one line."""
        return {name.upper(): " ".join(text.split()) for name, text in self.record().items()}


def in_order(found: Iterable[Finding]) -> list[Finding]:
    """Errors first; otherwise as they were found."""
    return sorted(found, key=lambda one: one.severity != "error")


def of_validity(
    subject: str, begins: datetime, ends: datetime, now: datetime, fix: str, soon: timedelta
) -> Finding | None:
    """What is wrong with the dates of a certificate; ``soon`` is how early its end is said."""
    if begins > now:
        return Finding(
            "error",
            "clock",
            subject,
            f"is valid from {_date(begins)} on, which is later than this machine's clock",
            "Set the clock (timedatectl set-ntp true), or renew the certificate.",
        )
    if ends <= now:
        return Finding("error", "certificates", subject, f"has expired on {_date(ends)}", fix)
    if ends - now < soon:
        text = f"expires in {_left(ends - now)}, on {_date(ends)}"
        return Finding("warning", "certificates", subject, text, fix)
    return None


def _left(left: timedelta) -> str:
    hours = left // timedelta(hours=1)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
