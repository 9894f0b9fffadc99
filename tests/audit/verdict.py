"""What a client should have had, and what it had.  Pure: ids in, counts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from flask_redis_events.channels import Channel, matches
from flask_redis_events.message import Position
from flask_redis_events.wire import Event


@dataclass
class Verdict:
    """Counts over all clients; `details` shows the first of each kind."""

    deliveries: int = 0
    lost: int = 0
    repeated: int = 0
    out_of_order: int = 0
    strangers: int = 0
    resets: int = 0
    stopped: int = 0
    details: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not any(
            (
                self.lost,
                self.repeated,
                self.out_of_order,
                self.strangers,
                self.resets,
                self.stopped,
            )
        )

    def note(self, kind: str, name: str, ids: Sequence[object]) -> None:
        if ids and len(self.details) < 20:
            self.details.append(f"{kind}, {name}: {len(ids)}, first {ids[0]}, last {ids[-1]}")


def expected(
    truth: Iterable[tuple[Position, str]], asked: Sequence[str], after: Position
) -> list[Position]:
    """Return the ids of all that was kept on the channels after a position, in order."""
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
) -> None:
    """Compare what one client had with what it should have had."""
    had = [Position.parse(e.last_event_id) for e in events if e.event == "message"]
    got = [id for id in had if id is not None]
    seen = set(got)
    lost = [id for id in wanted if id not in seen]
    repeated = [id for id, count in Counter(got).items() if count > 1]
    disorder = [later for earlier, later in pairwise(got) if later < earlier]
    strangers = sorted(seen - set(wanted))
    resets = [event.data for event in events if event.event == "reset"]
    verdict.deliveries += len(got)
    verdict.lost += len(lost)
    verdict.repeated += len(got) - len(seen)
    verdict.out_of_order += len(disorder)
    verdict.strangers += len(strangers)
    verdict.resets += len(resets)
    verdict.note("lost", name, lost)
    verdict.note("out of order", name, disorder)
    verdict.note("never emitted", name, strangers)
    verdict.note("reset", name, resets)
    verdict.note("repeated", name, repeated)
