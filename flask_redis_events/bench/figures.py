"""What a load came to, as numbers, as JSON and as a table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution, in seconds; `count` is how many were looked at."""

    count: int
    p50: float
    p99: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return None for nothing."""
        ordered = sorted(values)
        if not ordered:
            return None
        return cls(len(ordered), _nearest(ordered, 0.5), _nearest(ordered, 0.99), ordered[-1])

    def __str__(self) -> str:
        parts = [("p50", self.p50), ("p99", self.p99), ("max", self.highest)]
        shown = ", ".join(f"{name} {duration(value)}" for name, value in parts)
        return f"{shown} ({self.count:,} looked at)"


def _nearest(ordered: list[float], rank: float) -> float:
    return ordered[min(len(ordered) - 1, int(rank * len(ordered)))]


def duration(seconds: float) -> str:
    """Write a duration for people."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One load; durations are in seconds."""

    clients: int
    #: How many had a stream when the opening was over, and how many at the end.
    opened: int
    open_at_end: int
    #: How long the opening took, over all and for each client.
    opening_seconds: float
    opening: Spread | None
    #: How long was counted, after the opening.
    seconds: float
    messages: int
    control_frames: int
    received_bytes: int
    #: From the time in the message (`{"t": …}`) to its arrival here.
    latency: Spread | None
    #: Between two pieces that one client was sent.
    interval: Spread | None
    reconnections: int
    errors: Mapping[str, int] = field(default_factory=dict)
    #: CPU seconds of this very process while it counted.
    own_cpu: float = 0.0

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)

    def as_table(self) -> str:
        rows = [
            ("streams", f"{self.opened:,} of {self.clients:,} opened, {self.open_at_end:,} at end"),
            ("opening", self._opening()),
            ("messages", f"{self.messages:,}, {self._rate(self.messages)}/s"),
            ("received", f"{self.received_bytes / 1e6:,.1f} MB"),
            ("control frames", f"{self.control_frames:,}"),
            ("latency", str(self.latency) if self.latency else 'no {"t": …} in the messages'),
            ("between two", str(self.interval) if self.interval else "–"),
            ("reconnections", f"{self.reconnections:,}"),
            ("errors", self._errors()),
            ("this client", f"{100 * self.own_cpu / (self.seconds or 1):.0f} % of a core"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def _opening(self) -> str:
        rate = self.opened / self.opening_seconds if self.opening_seconds else 0
        each = f"; each {self.opening}" if self.opening else ""
        return f"{duration(self.opening_seconds)}, {rate:,.0f}/s{each}"

    def _rate(self, number: int) -> str:
        return f"{number / self.seconds:,.0f}" if self.seconds else "–"

    def _errors(self) -> str:
        shown = ", ".join(f"{number:,} × {kind}" for kind, number in sorted(self.errors.items()))
        return shown or "none"
