"""The true list of messages, from the emitters' records and Redis' histories.  Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event


class Record(NamedTuple):
    """One message as its emitter saw it; without an id, `emit` raised, and it may exist or not."""

    emitter: str
    number: int
    channel: str
    id: str | None


class Name(NamedTuple):
    """The unique name of a message, which is part of its data."""

    emitter: str
    number: int
    channel: str


class Kept(NamedTuple):
    """A message in Redis' history."""

    id: Position
    name: Name


@dataclass
class Ledger:
    """The messages that exist, and the differences between emitters and Redis."""

    #: All messages that were emitted, in the order of ids.
    truth: list[Kept] = field(default_factory=list)
    acknowledged: int = 0
    #: How often `emit` raised although Redis has the message, and how often in all.
    failed_kept: int = 0
    failed: int = 0
    #: Messages that were emitted once, and are in Redis under several ids.
    twice: list[Name] = field(default_factory=list)
    #: Messages that were acknowledged, and are not in Redis under that id.
    unkept: list[Record] = field(default_factory=list)
    #: Messages in Redis that no emitter has emitted.
    foreign: list[Name] = field(default_factory=list)

    @property
    def positions(self) -> dict[Name, Position]:
        return {kept.name: kept.id for kept in self.truth}


def reconcile(records: Iterable[Record], kept: Iterable[Kept]) -> Ledger:
    """Compare the emitters' records with Redis' histories."""
    ids: dict[Name, list[Position]] = {}
    for id, name in kept:
        ids.setdefault(name, []).append(id)
    ledger = Ledger()
    emitted: set[Name] = set()
    for record in records:
        name = Name(*record[:3])
        emitted.add(name)
        found = set(ids.get(name, ()))
        if len(found) > 1:
            ledger.twice.append(name)
        if record.id is None:
            ledger.failed += 1
            ledger.failed_kept += bool(found)
        else:
            position = Position.parse(record.id)
            ledger.acknowledged += 1
            if position not in found:
                ledger.unkept.append(record)
            if position is not None:
                found.add(position)
        ledger.truth += [Kept(id, name) for id in found]
    ledger.foreign = [name for name in ids if name not in emitted]
    ledger.truth.sort()
    return ledger


def data(name: Name, size: int) -> dict[str, Any]:
    """Return a message's data; its filling shows whether bytes of two messages were mixed."""
    return {**name._asdict(), "filling": filling(name, size), "size": size}


def filling(name: Name, size: int) -> str:
    return chr(97 + name.number % 26) * size


def skipped(number: int) -> bool:
    """Say whether the application's callbacks skip the message."""
    return number % 3 == 0


def shrink(event: Event) -> Event:
    """Reduce a message's data to the names in it; raise ValueError if the data is damaged."""
    if event.event != "message":
        return event
    value = json.loads(event.data)
    names = [_name(one) for one in (value if isinstance(value, list) else [value])]
    return event._replace(data=json.dumps(names))


def _name(value: Mapping[str, Any]) -> Name:
    name = Name(value["emitter"], value["number"], value["channel"])
    if value["filling"] != filling(name, value["size"]):
        raise ValueError(f"{name} holds bytes of another message.")
    return name


def expand(
    events: Iterable[Event], positions: Mapping[Name, Position], *, gathered: bool
) -> list[Event]:
    """Return an event for each message, with the id that `emit` returned for it.

    An event's id must be the id of its message; an event with another id is renamed to "damaged".
    A `gathered` event holds several messages, and may have the id of a message that was skipped
    after them.
    """
    every: list[Event] = []
    for event in events:
        if event.event != "message":
            every.append(event)
            continue
        names = [Name(*one) for one in json.loads(event.data)]
        ids = [positions.get(name, Position(0)) for name in names]
        own = Position.parse(event.last_event_id) or Position(0)
        sound = own >= ids[-1] if gathered else own == ids[-1]
        kind = "message" if sound else "damaged"
        every += [Event(kind, event.data, str(id)) for id in ids]
    return every
