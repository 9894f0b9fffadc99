"""The figures of a load: counted and sampled while it runs, then shown as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: How many times of each kind are kept.
SAMPLES = 200_000

_TIME = re.compile(rb'"t": ?([0-9]{1,12}(?:\.[0-9]{1,9})?)')


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution of times, in seconds; `count` is the number of samples."""

    count: int
    p50: float
    p99: float
    highest: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Return the distribution of values; None if there are none."""
        ordered = sorted(values)
        if not ordered:
            return None
        return cls(len(ordered), _nearest(ordered, 0.5), _nearest(ordered, 0.99), ordered[-1])

    def __str__(self) -> str:
        parts = [("p50", self.p50), ("p99", self.p99), ("max", self.highest)]
        shown = ", ".join(f"{name} {duration(value)}" for name, value in parts)
        return f"{shown} ({self.count:,} samples)"


def _nearest(ordered: list[float], rank: float) -> float:
    """Return the value at a rank from 0 to 1; unlike a mean, it is one of the values."""
    return ordered[min(len(ordered) - 1, int(rank * len(ordered)))]


class Samples:
    """Times of the sampled clients, in seconds; the newest are kept."""

    def __init__(self) -> None:
        #: From the request to the response's head.
        self.openings: deque[float] = deque(maxlen=SAMPLES)
        #: From the time in a message to its arrival.
        self.latencies: deque[float] = deque(maxlen=SAMPLES)
        #: Between two arrivals at one client.
        self.intervals: deque[float] = deque(maxlen=SAMPLES)

    def hear(self, data: bytes, before: float) -> float:
        """Record the times of messages that have just arrived.

        `before` is the time that the client's last call returned, 0 for its first.
        """
        now, unix = time.monotonic(), time.time()
        if before:
            self.intervals.append(now - before)
        for text in _TIME.findall(data):
            sent = float(text)
            # `t` is of the clock to which it is close.  Unix and monotonic time are decades apart,
            # because the monotonic clock begins when the machine starts.
            self.latencies.append(unix - sent if abs(unix - sent) < 1e6 else now - sent)
        return now


def duration(seconds: float) -> str:
    """Write a duration in the unit that people read most easily."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one load; durations are in seconds."""

    clients: int
    #: How many clients ever had a stream, and how many had one at the end.
    opened: int
    open_at_end: int
    #: How long it took to open all streams, and how long for each client.
    opening_seconds: float
    opening: Spread | None
    #: How long messages were counted after the opening.
    seconds: float
    messages: int
    messages_while_opening: int
    control_frames: int
    received_bytes: int
    #: From the time in the message (`{"t": …}`) to its arrival here.
    latency: Spread | None
    #: From one arrival of messages to the next at the same client.
    interval: Spread | None
    reconnections: int
    errors: Mapping[str, int] = field(default_factory=dict)
    #: CPU seconds that the load generator itself used while it counted.
    own_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second, after the opening."""
        counted = self.messages - self.messages_while_opening
        return counted / self.seconds if self.seconds else 0.0

    def as_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False)

    def as_table(self) -> str:
        rows = [
            ("streams", f"{self.opened:,} of {self.clients:,} opened, {self.open_at_end:,} at end"),
            ("opening", self._opening()),
            ("messages", f"{self.messages:,}, {self.rate:,.0f}/s"),
            ("received", f"{self.received_bytes / 1e6:,.1f} MB"),
            ("control frames", f"{self.control_frames:,}"),
            ("latency", str(self.latency) if self.latency else 'no {"t": …} in the messages'),
            ("interval", str(self.interval) if self.interval else "–"),
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

    def _errors(self) -> str:
        shown = ", ".join(f"{number:,} × {kind}" for kind, number in sorted(self.errors.items()))
        return shown or "none"


class Tally:
    """The counts of a load that is running."""

    def __init__(self) -> None:
        #: How many clients ever had a stream, and how long it took to open them all.
        self.opened = 0
        self.opening_seconds = 0.0
        self.messages = 0
        self.received_bytes = 0
        self._controls_before = 0
        self.reconnections = 0
        self.errors: Counter[str] = Counter()
        self.samples = Samples()
        self.mark()

    def mark(self) -> None:
        """Begin the period over which rates are computed."""
        self._messages_before = self.messages
        self._started = time.monotonic()
        self._started_cpu = time.process_time()

    def reset(self, controls: int) -> None:
        """Set all counts but the opening's to 0; `controls` is the number of control frames."""
        self.messages = self.received_bytes = self.reconnections = 0
        self._controls_before = controls
        self.errors.clear()
        self.samples.latencies.clear()
        self.samples.intervals.clear()
        self.mark()

    def figures(self, clients: int, *, open_at_end: int, controls: int) -> Figures:
        """Return the figures; `controls` is the number of control frames since the start."""
        return Figures(
            clients=clients,
            opened=self.opened,
            open_at_end=open_at_end,
            opening_seconds=self.opening_seconds,
            opening=Spread.of(self.samples.openings),
            seconds=time.monotonic() - self._started,
            messages=self.messages,
            messages_while_opening=self._messages_before,
            control_frames=controls - self._controls_before,
            received_bytes=self.received_bytes,
            latency=Spread.of(self.samples.latencies),
            interval=Spread.of(self.samples.intervals),
            reconnections=self.reconnections,
            errors=dict(self.errors),
            own_cpu=time.process_time() - self._started_cpu,
        )
