"""One client's mailbox.  `offer()` never blocks and never raises: nobody waits for a client.

A mailbox is born held when its stream still has to learn where it begins; what arrives meanwhile is
kept, and follows the history at `start()`.  Closing takes a reason, is idempotent, wakes whoever
waits, and lets what was accepted be taken first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from ..channels import Channel
from ..exceptions import SubscriptionClosed
from ..wire import control
from ..wire.message import Batch, Message, Position


class Subscription:
    """A bounded queue of batches.  `limit` is in bytes; `overflow` is close, drop or latest."""

    def __init__(
        self,
        channels: Iterable[Channel] = (),
        *,
        limit: int = 1024 * 1024,
        overflow: str = "close",
        held: bool = False,
        numbered: bool = True,
    ) -> None:
        self.channels = frozenset(channels)
        self.limit = limit
        self.overflow = overflow
        #: Whether its frames carry ids, so that the client can resume.
        self.numbered = numbered
        #: Called once with the reason when the mailbox closes, by whoever closed it.
        self.on_close: Callable[[str], object] | None = None
        #: Called with the number of messages that a full mailbox dropped; must not block.
        self.on_drop: Callable[[int], None] | None = None
        #: What is not newer than this is not for this client: it had it from history.
        self.floor: Position | None = None
        #: When Redis acknowledged its channels, if its floor may be older; see `Member.go_live`.
        self.waited_until: float | None = None
        #: Set when Redis has acknowledged all its channels, or when it is closed.
        self.live = threading.Event()
        # Guards all below: the hub and its ticker put in, the stream takes out.
        self._lock = threading.Lock()
        self._filled = threading.Event()
        self._queue: deque[Batch] = deque()
        self._size = 0
        self._held = held
        #: The `reset` that tells of what was dropped, while it waits.
        self._overflow: control.Loss | None = None
        self._closed: str | None = None
        self._uncommitted = False
        #: What `lose` was told while it was held: `start` judges it by the floor that it is given.
        self._losses: list[tuple[Position, str, Position | None]] = []
        #: Set when somebody waits for room, and there is some.
        self._room: threading.Event | None = None

    @property
    def closed(self) -> str | None:
        """The reason it was closed for, or None."""
        return self._closed

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    @property
    def idle(self) -> bool:
        """Whether all that came has been taken, and has gone out."""
        return not (self._queue or self._held or self._uncommitted)

    def go_live(self, position: Position | None, *, waited_until: float | None = None) -> None:
        """Take note that Redis has acknowledged all its channels: what follows will be offered."""
        if not self.live.is_set():
            self.floor = position
            self.waited_until = waited_until
            self.live.set()

    def offer(self, batch: Batch) -> None:
        """Put a batch in; a full mailbox does what its overflow policy says."""
        with self._lock:
            reason = self._put(batch)
        if reason is not None:
            self.close(reason)

    def _put(self, batch: Batch) -> str | None:
        if self._closed is not None:
            return None
        if self.floor is not None:
            newer = batch.after(self.floor)
            if newer is None:
                return None
            batch = newer
        self._queue.append(batch)
        self._size += batch.size
        # A single batch may exceed the limit: one large message must reach an idle client.
        if self._size > self.limit and self._size > batch.size:
            if self.overflow == "close":
                return "overflow"
            self._shrink()
        if not self._held:
            self._filled.set()
        return None

    def _shrink(self) -> None:
        """Make room: superseded values go first, or else the oldest, and a `reset` says so."""
        messages = [message for batch in self._queue for message in batch.messages]
        if self.overflow == "latest":
            newest = {message.key: index for index, message in enumerate(messages)}
            messages = [
                message
                for index, message in enumerate(messages)
                if message.key is None or newest[message.key] == index
            ]
        kept, dropped = _newest(messages, self.limit)
        if dropped is not None and self.on_drop is not None:
            self.on_drop(len(messages) - len(kept))
        rest = [
            batch for batch in self._queue if not batch.messages and batch is not self._overflow
        ]
        if dropped is not None:
            until = dropped.id or Position(0)
            self._overflow = control.Loss("overflow", until, position=dropped.id)
        self._queue = deque([self._overflow, *rest] if self._overflow else rest)
        if kept:
            self._queue.append(Batch(kept))
        self._size = sum(batch.size for batch in self._queue)

    def start(self, floor: Position | None, first: Iterable[Batch] = ()) -> None:
        """Begin at `floor`: `first` goes out, then what was held and is newer."""
        with self._lock:
            held, self._queue = self._queue, deque(first)
            # Those do not count: a client must get its history, however much that is.
            self._size = 0
            self.floor = floor
            for batch in held:
                if batch is self._overflow and not self._missed(self._overflow.until):
                    # History has what was dropped meanwhile.
                    continue
                newer = batch if floor is None else batch.after(floor)
                if newer is not None:
                    self._queue.append(newer)
                    self._size += newer.size
            self._held = False
            for until, reason, restart in self._losses:
                # A floor on the new clock's side of a roll-back was read after it.
                if self._missed(until) if restart is None else (floor and floor > restart):
                    self._tell(until, reason, restart)
            self._losses.clear()
            self._filled.set()

    def beat(self, position: Position | None) -> bool:
        """Queue a heartbeat if the client is idle; say whether it was."""
        with self._lock:
            if self._queue or self._held or self._closed is not None:
                return False
            if not self.numbered:
                position = None
            elif position is not None and self.floor is not None:
                # From history it may have come further than this worker has live.
                position = max(position, self.floor)
            self._queue.append(control.heartbeat(position))
            self._filled.set()
            return True

    def lose(self, until: Position, reason: str, *, restart: Position | None = None) -> bool:
        """Tell the client to reset, unless its own position shows that it missed nothing.

        The frame carries no id: what it still gets comes after the cursor that it has.  `restart`
        is where positions begin anew after the clock went back.
        """
        with self._lock:
            if self._closed is not None:
                return False
            if self._held:
                self._losses.append((until, reason, restart))
                return False
            if restart is None and not self._missed(until):
                return False
            self._tell(until, reason, restart)
            return True

    def _missed(self, until: Position) -> bool:
        return self.floor is None or self.floor < until

    def _tell(self, until: Position, reason: str, restart: Position | None) -> None:
        if restart is not None:
            self.floor = None
        self._queue.append(control.Loss(reason, until, restart=restart))
        self._filled.set()

    def take(self, timeout: float | None = None) -> list[Batch]:
        """Take all that waits; [] when `timeout` seconds pass.

        Raises `SubscriptionClosed` once it is closed and empty.
        """
        if not self._filled.is_set() and not self._filled.wait(timeout):
            return []
        with self._lock:
            # Before the queue is empty, as `idle` looks at both without the lock.
            self._uncommitted = True
            taken = list(self._queue)
            self._queue.clear()
            self._size = 0
            self._overflow = None
            if self._closed is None:
                self._filled.clear()
            elif not taken:
                raise SubscriptionClosed(self._closed)
            self._make_room()
        return taken

    def wait_for_room(self) -> None:
        """Wait until it is at most half full, or closed: for who could fill it at any speed."""
        with self._lock:
            if self._closed is not None or self._size <= self.limit // 2:
                return
            room = self._room = threading.Event()
        room.wait()

    def _make_room(self) -> None:
        if self._room is not None:
            self._room.set()
            self._room = None

    def commit(self) -> None:
        """Say that what was taken has gone out, so that heartbeats may move the position."""
        self._uncommitted = False

    def close(self, reason: str, *, last: Batch | None = None) -> bool:
        """Close with a reason, after `last`; say whether this call closed it."""
        with self._lock:
            if self._closed is not None:
                return False
            self._closed = reason
            if reason in UNREADABLE or self._held:
                # What is held follows a history that this client will not be given any more.
                self._queue.clear()
                self._size = 0
            if last is not None:
                self._queue.append(last)
            self._filled.set()
            self.live.set()
            self._make_room()
        if self.on_close is not None:
            self.on_close(reason)
        return True


#: Reasons after which nobody reads what waits, or it can only be had again from history.
UNREADABLE = frozenset({"gone", "overflow", "write timeout"})


def _newest(messages: list[Message], limit: int) -> tuple[list[Message], Message | None]:
    """Split into the newest that fit in half the limit, and the last of those that do not."""
    room = limit // 2
    for index in range(len(messages) - 1, -1, -1):
        room -= len(messages[index].frame)
        if room < 0 and index < len(messages) - 1:
            return messages[index + 1 :], messages[index]
    return messages, None
