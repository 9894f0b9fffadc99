"""The true list of messages, from the emitters' records and from what Redis had.  Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event

from .fate import Window, overlaps

#: The data of a payload that somebody publishes who is no emitter.
FORGED = "forged"


class Record(NamedTuple):
    """One message as its emitter saw it; without an id, `emit` raised, and it may exist or not."""

    emitter: str
    number: int
    channel: str
    id: str | None
    #: When `emit` was called, and when it returned: Unix times.
    began: float = 0.0
    ended: float = 0.0


class Name(NamedTuple):
    """The unique name of a message, which is part of its data."""

    emitter: str
    number: int
    channel: str


class Kept(NamedTuple):
    """A message under its id, as Redis has it in a history."""

    id: Position
    name: Name


class Emission(NamedTuple):
    """A message that exists, and when it was emitted."""

    kept: Kept
    began: float = 0.0
    ended: float = 0.0

    @property
    def id(self) -> Position:
        return self.kept.id


@dataclass
class Ledger:
    """The messages that exist, and the differences between emitters and Redis."""

    #: All messages that were emitted, in the order of ids.
    truth: list[Emission] = field(default_factory=list)
    acknowledged: int = 0
    #: How often `emit` raised although Redis has the message, and how often in all.
    failed_kept: int = 0
    failed: int = 0
    #: Messages that were emitted once, and are in Redis under several ids.
    twice: list[Name] = field(default_factory=list)
    #: The same, where a failover lost the first of them, and its answer.
    again: list[Name] = field(default_factory=list)
    #: Messages that were acknowledged, and are not in Redis under that id.
    unkept: list[Record] = field(default_factory=list)
    #: Messages in Redis that no emitter has emitted.
    foreign: list[Name] = field(default_factory=list)

    @property
    def positions(self) -> dict[Name, set[Position]]:
        positions: dict[Name, set[Position]] = {}
        for emission in self.truth:
            positions.setdefault(emission.kept.name, set()).add(emission.id)
        return positions


def reconcile(
    records: Iterable[Record],
    kept: Iterable[Kept],
    *,
    received: Iterable[Kept] = (),
    failovers: Collection[Window] = (),
    lasting: bool = True,
) -> Ledger:
    """Compare the emitters' records with what Redis had in its histories.

    `lasting` says that Redis was to lose nothing.  Otherwise it may have lost a message before
    anybody looked; then clients that `received` it prove that it existed, if nothing else shows
    whether the emit was carried out.
    """
    ids, proven = _by_name(kept), _by_name(received)
    ledger = Ledger()
    emitted: set[Name] = set()
    for record in records:
        name = Name(*record[:3])
        emitted.add(name)
        found = set(ids.get(name, ()))
        lost_a_master = overlaps((record.began, record.ended), failovers)
        if lost_a_master or (record.id is None and not lasting):
            found |= proven.get(name, set())
        if record.id is None:
            ledger.failed += 1
            ledger.failed_kept += bool(found)
        else:
            position = Position.parse(record.id)
            ledger.acknowledged += 1
            if lasting and position not in found:
                ledger.unkept.append(record)
            if position is not None:
                found.add(position)
        if len(found) > 1:
            (ledger.again if lost_a_master else ledger.twice).append(name)
        ledger.truth += [Emission(Kept(id, name), record.began, record.ended) for id in found]
    ledger.foreign = [name for name in ids if name not in emitted]
    ledger.truth.sort()
    return ledger


def _by_name(kept: Iterable[Kept]) -> dict[Name, set[Position]]:
    ids: dict[Name, set[Position]] = {}
    for id, name in kept:
        ids.setdefault(name, set()).add(id)
    return ids


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
    if FORGED in event.data:
        return event._replace(event="forged")
    value = json.loads(event.data)
    names = [_name(one) for one in (value if isinstance(value, list) else [value])]
    return event._replace(data=json.dumps(names))


def _name(value: Mapping[str, Any]) -> Name:
    name = Name(value["emitter"], value["number"], value["channel"])
    if value["filling"] != filling(name, value["size"]):
        raise ValueError(f"{name} holds bytes of another message.")
    return name


class Had(NamedTuple):
    """An event that a client received, and when: of a message its name and its own id."""

    at: float
    kind: str
    id: Position | None
    name: Name | None = None
    data: str = ""


def expand(
    events: Iterable[tuple[float, Event]],
    positions: Mapping[Name, Collection[Position]],
    *,
    gathered: bool,
) -> list[Had]:
    """Return an event for each message, with the id that `emit` returned for it.

    An event's id must be the id of its message; an event with another id is renamed to "damaged".
    A `gathered` event holds several messages, and may have the id of a message that was skipped
    after them.
    """
    every: list[Had] = []
    for at, event in events:
        own = Position.parse(event.last_event_id)
        if event.event != "message":
            every.append(Had(at, event.event, own, data=event.data))
            continue
        names = [Name(*one) for one in json.loads(event.data)]
        ids = [_id(positions.get(name, ()), own) for name in names]
        sound = own is not None and (own >= ids[-1] if gathered else own == ids[-1])
        kind = "message" if sound else "damaged"
        every += [Had(at, kind, id, name, event.data) for id, name in zip(ids, names, strict=True)]
    return every


def received(events: Iterable[Event]) -> list[Kept]:
    """Return the messages of events that hold one message each."""
    kept = []
    for event in events:
        id = Position.parse(event.last_event_id)
        if event.event == "message" and id is not None:
            names = json.loads(event.data)
            kept += [Kept(id, Name(*names[0]))] if len(names) == 1 else []
    return kept


def _id(ids: Collection[Position], own: Position | None) -> Position:
    """Return that of a message's ids with which an event with the id `own` can have come."""
    fitting = [id for id in ids if own is None or id <= own]
    return max(fitting, default=min(ids, default=Position(0)))
