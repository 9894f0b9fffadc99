"""One member of an audience: a client, the inbox of application code, or a listener.

`offer()` never blocks and never raises, so that nobody waits for a client.  A batch that is offered
goes to the client's socket at once, if the hub writes that socket; else it waits in a backlog until
somebody takes it.  A subscription is born held where its stream still has to learn its beginning:
what arrives meanwhile waits, and follows the history at `start()`.

Closing takes a reason, is idempotent, wakes whoever waits, and lets what was accepted go out first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

from .. import concurrency
from ..channels import Channel
from ..concurrency import Wakeable
from ..endings import GONE, OVERFLOW, Ending
from ..exceptions import SubscriptionClosed
from ..server import SocketWriter
from ..wire import PART, Batch, Form, Position, encoded, newest
from ..wire.control import Loss, heartbeat
from .backlog import Backlog
from .owner import NOBODY, Owner


class Subscription(Wakeable):
    """A member for life.  `limit` is in bytes; `overflow` is close, drop or latest."""

    __slots__ = (
        "_backlog",
        "_guard",
        "_held",
        "_overflow",
        "_uncommitted",
        "_writer",
        "active_at",
        "channels",
        "closed",
        "floor",
        "form",
        "limit",
        "live",
        "owner",
        "subscribed_at",
    )

    def __init__(
        self,
        channels: Iterable[Channel] = (),
        *,
        limit: int = 1024 * 1024,
        overflow: str = "close",
        held: bool = False,
        numbered: bool = True,
        owner: Owner = NOBODY,
    ) -> None:
        super().__init__()
        self.channels = frozenset(channels)
        #: How its bytes are made; without ids, the client cannot resume.
        self.form = Form(numbered)
        self.owner = owner
        #: Skip anything at or before this position, as history has already delivered it.
        self.floor: Position | None = None
        #: Whether Redis has acknowledged all its channels, and when, where `floor` may be older.
        self.live = False
        self.subscribed_at: float | None = None
        #: Why it is closed, or None.
        self.closed: Ending | None = None
        #: When the client was last sent something that a heartbeat would be: an id, if it has any.
        self.active_at = 0.0
        self.limit, self._overflow = limit, overflow
        # Guards all below: the hub and its ticker put in, the stream takes out.
        self._guard = concurrency.guard()
        self._held = held
        self._backlog: Backlog | None = None
        self._writer: SocketWriter | None = None
        #: Whether what was taken has not gone out yet.
        self._uncommitted = False

    @property
    def numbered(self) -> bool:
        return self.form.numbered

    @property
    def idle(self) -> bool:
        """Whether all that came for it has gone out."""
        return not (self._backlog or self._held or self._uncommitted or self._stuck)

    @property
    def has_news(self) -> bool:
        """Whether there is something to take, or it is closed."""
        return self.closed is not None or bool(self._backlog and not self._held)

    @property
    def has_room(self) -> bool:
        """Whether a source that can wait need not wait."""
        return self._backlog is None or not self._backlog.half_full

    @property
    def _stuck(self) -> bool:
        writer = self._writer
        return writer is not None and (writer.stalled_since is not None or bool(self._backlog))

    # -- what the hub does -------------------------------------------------------------------------

    def go_live(self, position: Position | None, *, subscribed_at: float | None = None) -> None:
        """Take note that Redis has acknowledged all its channels: what follows will be offered.

        `subscribed_at` is when, in monotonic seconds, if the position may be older than that:
        what was emitted in between was not received here.
        """
        if not self.live:
            self.floor = position
            self.subscribed_at = subscribed_at
            self.live = True
            self.notify()

    def offer(self, batch: Batch) -> None:
        """Send a batch, or let it wait; a full backlog does what its overflow policy says."""
        if self.closed is not None:
            return
        if self._writer is not None:
            self._send(batch)
            return
        with self._guard:
            dropped = self._put(batch)
        self._report(dropped)
        self.notify()

    def beat(self, position: Position | None) -> None:
        """Send a heartbeat, if nothing waits for the client."""
        with self._guard:
            if self._backlog or self._held or self._stuck or self.closed is not None:
                return
            moves = position is not None and self.numbered
            self._deliver(heartbeat(newest(position, self.floor) if moves else None))
        self.notify()

    def lose(self, loss: Loss) -> bool:
        """Tell the client to reset, unless its own position shows that it missed nothing."""
        with self._guard:
            if self.closed is not None:
                return False
            if self._held:
                self._deliver(loss)  # `start` judges by the floor that it is given
                return False
            if loss.restart is not None:
                self.floor = None
            elif self.floor is not None and self.floor >= loss.until:
                return False
            self._deliver(loss)
        self.notify()
        return True

    def close(self, ending: Ending, *, last: Batch | None = None) -> bool:
        """End with a reason, after what waits and `last`; say whether this call closed it."""
        with self._guard:
            if self.closed is not None:
                return False
            self.closed = ending
            if not ending.readable or self._held:
                # Messages that are held follow a history that this client will not be given.
                self._backlog = None
            if last is not None and ending.readable:
                self._deliver(last)
        self.notify()
        self.owner.closed(ending)
        if self._writer is not None and not ending.readable:
            self.finished()
        elif self._writer is not None:
            # The last chunk (RFC 9112, section 7.1), or else the connection's end, is the body's.
            self._writer.end(b"0\r\n\r\n" if self.form.chunked else b"")
        return True

    # -- what a stream does ------------------------------------------------------------------------

    def start(self, floor: Position | None, first: Iterable[Batch] = ()) -> None:
        """Begin at `floor`: `first` goes out, unless it is closed, then what is held and newer."""
        with self._guard:
            self._held = False
            self.floor = self._waiting().begin(() if self.closed else first, floor)
            self._backlog = self._backlog or None
        self.notify()

    def take(self, timeout: float | None = None, *, most: float = math.inf) -> list[Batch]:
        """Take what waits, or about `most` bytes of it; [] when `timeout` seconds pass.

        Raises `SubscriptionClosed` once it is closed and empty.
        """
        if timeout != 0 and not self.has_news:
            self.wait(lambda: self.has_news, timeout)
        with self._guard:
            if self._held and self.closed is None:
                return []
            if backlog := self._backlog:
                # Before the backlog is empty, as `idle` looks at both without the guard.
                self._uncommitted = True
                taken, self._backlog = backlog.take(most), backlog or None
            elif self.closed is not None:
                raise SubscriptionClosed(self.closed.reason)
            else:
                return []
        self.owner.drained()
        return taken

    def commit(self) -> None:
        """Say that what was taken has gone out, so that heartbeats may move the position."""
        self._uncommitted = False

    def hand_over(self, writer: SocketWriter, *, chunked: bool) -> None:
        """Let the hub write the client's socket from here on, as long as it is not closed.

        Under gevent only, in whose one thread nobody comes between.
        """
        self.form = self.form._replace(chunked=chunked)
        self._writer = writer
        self._changed = None
        self._uncommitted = False
        writer.begin()

    # -- what its writer asks ----------------------------------------------------------------------

    def more(self) -> bytes:
        """Return a part of what waits, for the socket to take; b"" where nothing does."""
        if not (backlog := self._backlog):
            return b""
        taken, self._backlog = backlog.take(PART), backlog or None
        if self.closed is None:
            self.owner.drained()
        return encoded(taken, self.form)

    def lost(self) -> None:
        if not self.close(GONE):
            self.finished()

    def finished(self) -> None:
        # A stream and its client refer to each other, and so wait for the garbage collector.
        self._backlog = None
        if self._writer is not None:
            self._writer.drop()
        self.owner.finished()

    def _send(self, batch: Batch) -> None:
        """Write a batch to the socket, or let it wait behind what the socket has not taken."""
        assert self._writer is not None
        newer = batch.after(self.floor)
        if self._stuck:
            self._report(self._put(batch))
        elif newer is not None:
            if newer.position is not None or not self.form.numbered:
                self.active_at = time.monotonic()
            self._writer.write(newer.encode(self.form))

    def _deliver(self, control: Batch) -> None:
        """Send a control frame, or let it wait however full the backlog is."""
        if self._writer is None or self._stuck:
            self._waiting().append(control)
        else:
            self._send(control)

    def _put(self, batch: Batch) -> int | None:
        """Let a batch wait; return how many messages were dropped, or None if it is full."""
        newer = batch.after(self.floor)
        if newer is None or self.closed is not None:
            return 0
        return self._waiting().put(newer)

    def _waiting(self) -> Backlog:
        if self._backlog is None:
            self._backlog = Backlog(self.limit, self._overflow)
        return self._backlog

    def _report(self, dropped: int | None) -> None:
        if dropped is None:
            self.close(OVERFLOW)
        elif dropped:
            self.owner.dropped(dropped)
