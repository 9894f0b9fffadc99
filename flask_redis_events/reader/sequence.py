"""The order of messages: what is new, what is missing, and who gets it.  No I/O, no clock, no lock.

There is one position for all channels.  Ids come from one clock and arrive in its order, so it says
of every channel at once how far this worker has come.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from ..broker.base import Delivery
from ..broker.coverage import Snapshot
from ..channels import KICKS, OWN, TICKS, Channel, matches
from ..clients import Audience, Registry
from ..concurrency import Turn, let_others_run
from ..wire import BEGINNING, Message, Position
from ..wire.control import Loss
from .tail import Tail

#: Milliseconds for which a gap is remembered: until all workers have found out about a failover.
FRESH = 60_000


class Sequence:
    """Routes messages to audiences, once and in order.  `ttl` is in milliseconds."""

    def __init__(
        self,
        registry: Registry,
        *,
        ttl: float,
        tail: Tail,
        on_kick: Callable[..., None] = lambda message, **_: None,
        rest: Callable[[], None] = let_others_run,
    ) -> None:
        #: The newest id of any channel; None until Redis' clock is known.
        self.position: Position | None = None
        #: Counts how often something was lost: what was read before holds no more.
        self.losses = 0
        #: What passed lately, for those who come back.
        self.tail = tail
        self._registry = registry
        self._on_kick = on_kick
        self._ttl = ttl
        self._rest = rest
        #: What is not newer came from history already.
        self._floor = BEGINNING
        #: Where this worker had to read from Redis lately, and did not receive: (after, up to).
        self._gaps: list[tuple[Position, Position]] = []
        #: The newest id that arrived since the last refill.
        self._arrived = BEGINNING
        #: Where Redis' clock began, as far as this worker knows.
        self.created: Position | None = None
        #: The newest loss in a failover by which the clients here have been judged.
        self._judged = BEGINNING
        #: A message that came here and that Redis does not seem to have.
        self._doubtful: Message | None = None
        #: The last message of each channel, to see by the next one's `prev` whether any is missing.
        self._last: dict[str, Position] = {}
        self._touched: dict[Audience, None] = {}

    def follows_a_gap(self, message: Message) -> bool:
        """Say whether a message of this channel, before this one, never came."""
        id, prev = message.id, message.prev
        if id is None:
            return False
        if id < self._arrived:
            # Redis' clock went back; or somebody repeats what he has received.
            return not self.tail.saw(id)
        if id <= self._floor:
            return False
        last = self._last.get(message.channel)
        # The first one after the acknowledgement has nothing before it that could be missing.
        if prev is None or last is None:
            return False
        if prev < last < id and last > self._floor:
            # Redis lacks a message that came here, as after a failover of which this connection
            # knows nothing: a master that was cut off takes messages until it becomes a replica.
            self._doubtful = self.tail.get(last)
            return True
        last = max(last, self._floor)
        if self.position is not None and id.outlives(last, self._ttl):
            # Its history may have expired meanwhile: then `prev` is only a bound.
            last = max(last, self.position)
        return prev > last

    @property
    def witness(self) -> Message | None:
        """A message that Redis must have, unless a failover lost it; None if there is none."""
        return self._doubtful or self.tail.newest

    def route(self, delivery: Delivery) -> None:
        """Put a message to those who hear it; it goes out at `flush()`."""
        via, message = delivery
        id, heard = message.id, self._registry.hearing(message.channel)
        self._arrived = max(self._arrived, id or BEGINNING)
        if id is not None and (id <= self._floor or id <= (self.position or BEGINNING)):
            # From history, or through another pattern, all have it.
            return
        if id is not None:
            self._pass(message, id, heard=bool(heard) or message.channel == KICKS)
        else:
            # A foreign message comes once for each way.
            heard = [
                one for one in self._registry.listening(via) if one.hears(via, message.channel)
            ]
        if message.channel in OWN:
            # One without an id is not ours.
            if id is not None and message.channel == TICKS:
                self._forget_expired()
                self._note_fork(message)
            elif id is not None:
                # First what came before it.
                self.flush()
                self._on_kick(message)
            return
        for audience in heard:
            audience.pending.append(message)
            self._touched[audience] = None

    def _pass(self, message: Message, id: Position, *, heard: bool) -> None:
        # What is still under way of a channel that was left tells nothing of the time after it.
        if heard and message.prev is not None:
            self._last[message.channel] = id
            self.tail.add(message, id)
        self.tail.passed(id)
        self.position = id

    def flush(self) -> int:
        """Offer each client what is pending for it, as one batch; return how many were offered."""
        # Taken first: what has been offered is not offered again, whatever becomes of this.
        touched, self._touched = self._touched, {}
        turn = Turn(self._rest)
        return sum([audience.flush(turn) for audience in touched])

    def recall(self, channels: Collection[Channel], cursor: Position) -> Snapshot | None:
        """Return what came after a cursor, as far as this worker has come; None if it lacks any."""
        if self.position is None or cursor > self.position:
            return None
        messages = self.tail.after(channels, cursor)
        return None if messages is None else Snapshot(self.position, messages, {})

    def is_overtaken(self, snapshot: Snapshot) -> bool:
        """Say whether ids up to the position have been given to messages that never came here.

        So it is after a failover to a server whose clock was behind, and if Redis' data were
        replaced by others.
        """
        if self.position is None or self.position < (snapshot.created or BEGINNING):
            return False
        if self.created is not None and self.created != snapshot.created:
            return True
        if any(
            last <= self.position and self.tail.lacks(name, last)
            for name, last in snapshot.latest.items()
        ):
            return True
        return any(
            id <= self.position and self.tail.lacks(message.channel, id, message.frame)
            for message in snapshot.messages
            if (id := message.id) is not None
        )

    def begin(self, requests: Iterable[Message], now: Position) -> None:
        """Act on requests to disconnect of before the first connection.

        The views of the first clients may have been called before them.
        """
        for request in requests:
            # Less than it was, as ids have whole milliseconds.
            self._on_kick(request, age=max(0, now.ms - (request.id or now).ms - 1) / 1000)

    def refill(self, snapshot: Snapshot) -> list[str]:
        """Go on from a snapshot of what came after the position; return why clients were reset."""
        self._gaps = [gap for gap in self._gaps if not snapshot.clock.outlives(gap[1], FRESH)]
        self._gaps.append((self.position or BEGINNING, snapshot.clock))
        self.created, self._doubtful = snapshot.created, None
        self._judged = max(self._judged, snapshot.forked or BEGINNING)
        anew = self.position is None or "" in snapshot.lost
        if anew:
            self._floor, self.position = BEGINNING, None
            self._last.clear()
        if anew or snapshot.lost:
            self._forget_all(snapshot.clock)
        reasons = self._reset(snapshot.lost, snapshot.clock)
        for message in snapshot.messages:
            self.route(Delivery(Channel(message.channel), message))
        self.flush()
        self._floor = self.position = snapshot.clock
        self._arrived = BEGINNING
        self.tail.passed(snapshot.clock)
        return reasons

    def forget(self, channels: Iterable[Channel]) -> None:
        """Forget what was last on channels that nobody hears any more."""
        self.tail.left(channels)
        for channel in channels:
            names = [channel.name]
            if channel.pattern:
                names = [name for name in self._last if matches(channel.name, name)]
            for name in names:
                if not self._registry.ways(name):
                    self._last.pop(name, None)

    def _forget_all(self, position: Position) -> None:
        self.losses += 1
        self.tail.forget(position)

    def _forget_expired(self) -> None:
        if self.position is None:
            return
        oldest = self.position.earlier(self._ttl)
        for name in [name for name, last in self._last.items() if last < oldest]:
            del self._last[name]

    def _note_fork(self, tick: Message) -> None:
        """Reset all if messages that another worker saw were lost before they came here."""
        word, _, id = tick.bare.strip().partition(b" ")
        position = Position.parse(id) if word == b":forked" else None
        if position is None or self.position is None or position <= self._judged:
            return
        self._judged = position
        if any(after < position for after, _ in self._gaps):
            # Also those who came back meanwhile, when nobody knew.
            self._reset({"": (self.position, "forked")}, self.position)
            self._forget_all(self.position)

    def _reset(self, lost: Mapping[str, tuple[Position, str]], clock: Position) -> list[str]:
        """Tell those who missed something; each is judged by its own position.

        Return a reason for each client that was told.
        """
        reasons = []
        if "" in lost or KICKS in lost:
            self._on_kick(None)
        for channel, (until, reason) in lost.items():
            loss = Loss(reason, until, restart=clock if reason == "rolled back" else None)
            for audience in self._hearing(channel):
                reasons += [reason] * audience.lose(loss)
        return reasons

    def _hearing(self, channel: str) -> Collection[Audience]:
        """Return the audiences of a channel; all of them where it is ""."""
        return self._registry.hearing(channel) if channel else self._registry.audiences
