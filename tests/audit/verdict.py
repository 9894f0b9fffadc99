"""Compares the events that a client should have received with those it received.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate, pairwise

from flask_redis_events.channels import Channel, matches
from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event


@dataclass
class Verdict:
    """Counts over all clients; `details` shows the first of each kind."""

    deliveries: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    #: Received, but not emitted, or not for this client.
    strangers: int = 0
    #: Received under another id than `emit` returned.
    damaged: int = 0
    #: Control frames with an older id than the client had, so that a resume would repeat messages.
    cursor_back: int = 0
    resets: int = 0
    #: Streams that were refused, ended for good, or never began.
    stopped: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any(
            getattr(self, each.name)
            for each in fields(self)
            if each.name not in ("deliveries", "details")
        )

    def note(self, kind: str, name: str, ids: Sequence[object]) -> None:
        if ids and len(self.details) < 20:
            self.details.append(f"{kind}, {name}: {len(ids)}, first {ids[0]}, last {ids[-1]}")

    def tell(self, story: Sequence[str]) -> None:
        """Add the story of a client that lost a message to the details, up to a limit."""
        if len(self.details) < 20:
            self.details += [f"  {line}" for line in story]


def expected(
    truth: Iterable[tuple[Position, str]], asked: Sequence[str], after: Position
) -> list[Position]:
    """Return the ids of all messages on the channels after a position, in order."""
    heard = [Channel.parse(name) for name in asked]

    def hears(name: str) -> bool:
        return any(
            matches(channel.name, name) if channel.pattern else channel.name == name
            for channel in heard
        )

    return sorted(id for id, name in truth if id > after and hears(name))


def judge(
    verdict: Verdict,
    name: str,
    events: Sequence[Event],
    wanted: Sequence[Position],
) -> list[Position]:
    """Count the differences between expected and received messages; return the lost ids."""
    had = [Position.parse(e.last_event_id) for e in events if e.event == "message"]
    got = [id for id in had if id is not None]
    seen = set(got)
    lost = [id for id in wanted if id not in seen]
    found: dict[str, Sequence[object]] = {
        "lost": lost,
        "repeated": [id for id, count in Counter(got).items() for _ in range(count - 1)],
        "out_of_order": [later for earlier, later in pairwise(got) if later < earlier],
        "strangers": sorted(seen - set(wanted)),
        "damaged": [event.data for event in events if event.event == "damaged"],
        "cursor_back": _back(events),
        "resets": [event.data for event in events if event.event == "reset"],
    }
    verdict.deliveries += len(got)
    for kind, ids in found.items():
        setattr(verdict, kind, getattr(verdict, kind) + len(ids))
        verdict.note(kind.replace("_", " "), name, ids)
    return lost


def _back(events: Sequence[Event]) -> list[Position]:
    """Return the ids of control frames that are older than an id that came before them."""
    placed = [(event.event, Position.parse(event.last_event_id)) for event in events]
    known = [(kind, id) for kind, id in placed if id is not None]
    furthest = accumulate((id for _, id in known), max)
    return [
        id
        for (kind, id), most in zip(known, furthest, strict=True)
        if id < most and kind not in ("message", "damaged")
    ]
