"""What the hub asks of a broker, whichever it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..channels import Channel
from ..wire import Message, Position


class Delivery(NamedTuple):
    """A message, and the subscription through which it came."""

    via: Channel
    message: Message


class Acknowledgement(NamedTuple):
    """Redis confirms a subscription: what is published from here on arrives."""

    channel: Channel


class Refusal(NamedTuple):
    """Redis does not let its user hear one of these channels: it has subscribed to none."""

    channels: list[Channel]


class Pong(NamedTuple):
    """The connection answered a ping."""


Received = Delivery | Acknowledgement | Refusal | Pong


class Held(NamedTuple):
    """What a broker found of one channel's history."""

    channel: str
    #: In order; after the cursor, where there is one.
    messages: Sequence[Message]
    #: Whether the history is there at all: it goes when it expires, or is evicted.
    exists: bool = True
    #: When its last message was kept, as far as is known.
    latest: Position | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """History as it stood at one moment."""

    #: The last id given out at that moment: what follows it comes live.
    clock: Position
    #: What came after the cursor on all the channels asked for, in order.
    messages: list[Message]
    #: Why messages between the cursor and a position are gone, by channel ("" for all of them).
    lost: Mapping[str, tuple[Position, str]]
    #: The last message that is known to have been lost with another master.
    forked: Position | None = None

    @property
    def reason(self) -> str | None:
        """Why the cursor is not covered, or None."""
        return next((reason for _, reason in self.lost.values()), None)


def snapshot(
    clock: Position,
    held: Iterable[Held],
    *,
    created: Position,
    horizon: Position,
    after: Position | None,
    last: int = 0,
    patterns: bool = False,
    forked: Position | None = None,
) -> Snapshot:
    """Merge what was found, and judge whether the cursor `after` is covered by it.

    `horizon` is the moment, a TTL ago, from which on a missing history proves silence.
    """
    found = list(held)
    messages = sorted((m for one in found for m in one.messages), key=lambda m: m.id or created)
    if after is None:
        return Snapshot(clock, messages[-last:] if last else [], {})
    if after > clock:
        return Snapshot(clock, [], {"": (after, "rolled back")})
    if after < created:
        return Snapshot(clock, messages, {"": (created, "flushed")})
    lost: dict[str, tuple[Position, str]] = {}
    if forked is not None and after < forked:
        return Snapshot(clock, messages, {"": (forked, "forked")}, forked)
    for one in found:
        verdict = _judge(one, after, horizon)
        if verdict is not None:
            lost[one.channel] = verdict
    if patterns and after < horizon:
        # Whole channels that matched may have come and gone since.
        lost[""] = (horizon, "expired")
    return Snapshot(clock, messages, lost, forked)


def _judge(one: Held, after: Position, horizon: Position) -> tuple[Position, str] | None:
    if one.messages:
        prev = one.messages[0].prev
        return (prev, "trimmed") if prev is not None and prev > after else None
    if one.exists:
        return None
    if one.latest is not None and one.latest.ms > max(after, horizon).ms:
        return one.latest, "evicted"
    return (horizon, "expired") if after < horizon else None


class Feed(Protocol):
    """One pub/sub connection.  Only its reader reads; anyone may (un)subscribe or close."""

    def subscribe(self, channels: Collection[Channel]) -> None:
        """Ask for channels; an acknowledgement each follows, or a refusal of some of them."""

    def unsubscribe(self, channels: Collection[Channel]) -> None:
        """Give channels up."""

    def read(self, timeout: float) -> list[Received]:
        """Wait for something and return all that is ready; [] when `timeout` seconds pass."""

    def ping(self) -> None:
        """Ask for a `Pong`."""

    def close(self) -> None:
        """End the connection; a waiting `read` raises `BrokerError`."""


class Broker(Protocol):
    """Where messages go and come from.  Every method may raise `BrokerError`."""

    #: Whether messages get ids and are kept.
    numbered: bool
    #: Seconds that a channel's history outlives its last message.
    history_ttl: float

    def publish(
        self, channel: str, frame: bytes, *, persist: bool = True, key: str | None = None
    ) -> Position | None:
        """Send a frame to everyone who listens; return its id (None without history)."""

    def publish_many(
        self, messages: Iterable[tuple[str, bytes]], *, persist: bool = True
    ) -> list[Position | None]:
        """Send frames to channels, in order and in one go."""

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        witness: Message | None = None,
    ) -> Snapshot:
        """Read what came after a position, or else the last few messages, in one snapshot.

        `witness`: a kept message that was seen; where it is missing, what came up to it was lost
        with another master, and whoever has not come so far is told.
        """

    def open(self) -> Feed:
        """Connect for reading."""

    def close(self) -> None:
        """Close the connections used for publishing and replays."""
