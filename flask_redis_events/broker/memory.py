"""A broker inside one process, for tests and first tries, which needs no Redis.

It makes the same promises as the broker on Redis (`tests/broker/test_contract.py` tests both), but
no other process can reach it, and its history ends with the process.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Collection, Iterable
from typing import Any

from ..channels import Channel, matches
from ..exceptions import BrokerError
from ..settings import Settings
from ..wire import Message, Position
from .base import Acknowledgement, Delivery, Feed, Outgoing, Pong, Received
from .coverage import Held, Snapshot, State, snapshot, too_much
from .limits import LIMITS, StateLimits
from .memory_people import MemoryPeople
from .memory_runs import MemoryRuns
from .memory_states import MemoryStates

#: URL and prefix -> broker.  Applications and emitters that name the same two share a broker, as
#: they would share a Redis.  A broker is forgotten with the last of them.
_named: weakref.WeakValueDictionary[tuple[str, str], MemoryBroker] = weakref.WeakValueDictionary()


class _History:
    """The kept messages of one channel, and when they expire.

    The time is Unix time in seconds, because ids are compared with it; Redis' TIME is the same.
    """

    def __init__(self, keep: int | None, ttl: float) -> None:
        self.messages: deque[Message] = deque(maxlen=keep)
        self.ttl = ttl
        self.expires = 0.0


class MemoryBroker:
    """Keeps histories in this process, and delivers messages to its feeds."""

    def __init__(
        self,
        *,
        history: int = 1000,
        history_ttl: float = 300.0,
        silence_ttl: float = Settings.silence_ttl,
        state: StateLimits = LIMITS,
    ) -> None:
        self.numbered = history > 0
        self.history_ttl = history_ttl
        self._silence = max(silence_ttl, history_ttl) * 1000
        self._keep = history
        self.people = MemoryPeople()
        # Through a proxy, so that the broker is forgotten with its last user.
        self.runs = MemoryRuns(weakref.proxy(self))
        # Guards all attributes below.
        self._lock = threading.RLock()
        self._feeds: set[MemoryFeed] = set()
        self._histories: dict[str, _History] = {}
        self._states = MemoryStates(state)
        #: The id of each channel's last kept message, the oldest first.
        self._last: dict[str, Position] = {}
        self._clock = self._created = Position(time.time_ns() // 1_000_000)

    @classmethod
    def named(cls, url: str, *, prefix: str, **settings: Any) -> MemoryBroker:
        """Return this process's broker for a URL and prefix; make it if there is none."""
        broker = _named.get((url, prefix))
        if broker is None:
            broker = cls(**settings)
            broker = _named.setdefault((url, prefix), broker)
        return broker

    def publish(
        self,
        channel: str,
        frame: bytes,
        *,
        persist: bool = True,
        key: str | None = None,
        keep: str = "",
    ) -> Position | None:
        with self._lock:
            self._states.check([Outgoing(channel, frame, key, keep)])
            if not self.numbered:
                self._deliver(Message(channel, frame, key=key))
                return None
            id = self._next_id()
            prev = self._prev(channel) if persist else None
            message = Message.numbered(channel, frame, id, prev=prev, key=key)
            if persist:
                history = self._histories.get(channel)
                if history is None:
                    history = _History(self._keep, self.history_ttl)
                    self._histories[channel] = history
                history.messages.append(message)
                history.expires = time.time() + history.ttl
                self._last.pop(channel, None)
                self._last[channel] = id
                self._states.put(message, keep)
            self._deliver(message)
            return id

    def publish_many(
        self, messages: Iterable[Outgoing | tuple[str, bytes]], *, persist: bool = True
    ) -> list[Position | None]:
        given = [Outgoing(*one) for one in messages]
        with self._lock:
            self._states.check(given)
            return [
                self.publish(channel, frame, persist=persist, key=key, keep=keep)
                for channel, frame, key, keep in given
            ]

    def publish_foreign(self, channel: str, payload: bytes) -> None:
        """Publish a payload without an envelope, as another program does with PUBLISH."""
        with self._lock:
            self._deliver(Message.from_payload(channel, payload))

    def keep_log(self, channel: str, ttl: float, *, anew: bool = False) -> Position:
        """Keep a run's whole history for `ttl` seconds from now, or begin it; return the clock."""
        with self._lock:
            if anew or channel not in self._histories:
                self._histories[channel] = _History(None, ttl)
            history = self._histories[channel]
            history.ttl, history.expires = ttl, time.time() + ttl
            return self._clock

    def replay(
        self,
        channels: Collection[Channel],
        *,
        after: Position | None = None,
        last: int = 0,
        limit: int = 0,
        max_bytes: int | None = None,
        witness: Message | None = None,
        state: bool = False,
    ) -> Snapshot:
        with self._lock:
            self._expire()
            known = self._state()
            if state:
                held = self._states.read(channels)
                last = sum(len(one.messages) for one in held)
            else:
                names = {c.name for c in channels if not c.pattern}
                for pattern in (c.name for c in channels if c.pattern):
                    names.update(name for name in self._last if matches(pattern, name))
                held = [self._held(name, after, limit or None, last) for name in sorted(names)]
        size = sum(len(message.frame) for one in held for message in one.messages)
        if max_bytes is not None and size > max_bytes:
            return too_much(known)
        patterns = any(channel.pattern for channel in channels)
        return snapshot(known, held, after=after, last=last, patterns=patterns)

    def note_fork(self, position: Position, *, overtaken: bool) -> Position:
        raise NotImplementedError("A broker in memory has no replica.")

    def open(self) -> Feed:
        feed = MemoryFeed(self)
        with self._lock:
            self._feeds.add(feed)
        return feed

    def close(self) -> None:
        with self._lock:
            feeds = list(self._feeds)
        for feed in feeds:
            feed.close()

    def forget(self, feed: MemoryFeed) -> None:
        """Deliver nothing more to a feed that has closed."""
        with self._lock:
            self._feeds.discard(feed)

    def _next_id(self) -> Position:
        """Return an id later than all earlier ones, even if the system's clock has gone back."""
        now = time.time_ns() // 1_000_000
        last = self._clock
        self._clock = Position(now) if now > last.ms else Position(last.ms, last.seq + 1)
        return self._clock

    def _state(self) -> State:
        moment = max(self._clock, Position(time.time_ns() // 1_000_000))
        return State(
            self._clock,
            created=self._created,
            horizon=moment.earlier(self._silence),
            indexed=self._created,
            kept_since=moment.earlier(self.history_ttl * 1000),
        )

    def _prev(self, channel: str) -> Position:
        """Return the id of the channel's last message, or a bound that no lost message is after."""
        self._expire()
        # A channel of which nothing is known was silent since the horizon.
        return self._last.get(channel) or max(self._created, self._state().horizon)

    def _expire(self) -> None:
        now = time.time()
        for name in [n for n, history in self._histories.items() if history.expires <= now]:
            del self._histories[name]
        horizon = self._state().horizon
        while self._last and (name := next(iter(self._last))) and self._last[name] < horizon:
            del self._last[name]

    def _held(self, name: str, after: Position | None, limit: int | None, last: int) -> Held:
        history = self._histories.get(name)
        messages = list(history.messages) if history is not None else []
        if after is None:
            messages = messages[-last:] if last else []
        else:
            messages = [m for m in messages if m.id is not None and m.id > after][:limit]
        return Held(name, messages, self._last.get(name))

    def _deliver(self, message: Message) -> None:
        """Queue a message in all feeds; under the lock, so that all have it in the order of ids."""
        for feed in self._feeds:
            feed.deliver(message)


class MemoryFeed:
    """A `Feed` on a queue."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        # No lock guards these: appending to a deque, changing one entry of a dict and copying its
        # keys are each atomic in CPython.
        self._channels: dict[Channel, None] = {}
        self._queue: deque[Received] = deque()
        self._filled = threading.Event()
        self._closed = False

    def subscribe(self, channels: Collection[Channel]) -> None:
        for channel in channels:
            self._channels[channel] = None
            self._put(Acknowledgement(channel))

    def unsubscribe(self, channels: Collection[Channel]) -> None:
        for channel in channels:
            self._channels.pop(channel, None)

    def deliver(self, message: Message) -> None:
        """Queue a copy of the message for each subscription that it matches, as Redis does."""
        exact = Channel(message.channel)
        for channel in list(self._channels):
            if channel == exact or (channel.pattern and matches(channel.name, message.channel)):
                self._put(Delivery(channel, message))

    def ping(self) -> None:
        self._put(Pong())

    def read(self, timeout: float) -> list[Received]:
        if not self._filled.wait(timeout):
            return []
        if self._closed:
            raise BrokerError("The feed is closed.")
        # Cleared before the queue is emptied, so that an item which arrives now sets it again.
        self._filled.clear()
        received = []
        while self._queue:
            received.append(self._queue.popleft())
        return received

    def close(self) -> None:
        self._closed = True
        self._broker.forget(self)
        self._filled.set()

    def _put(self, received: Received) -> None:
        self._queue.append(received)
        self._filled.set()
