"""A client whose socket the hub writes itself: no greenlet, no generator, no request.

Under gunicorn's gevent worker, a stream without code of its own for each client is handed over once
it is live: gunicorn has written the head and the first frames, and lets go; from then on a message
costs the client one `write` of bytes that all clients share.  It runs in gevent's one thread, so
there is no lock; what does not fit into the socket waits in a mailbox like any other client's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from .. import concurrency
from ..clients.member import Member
from ..clients.subscription import UNREADABLE, Subscription
from ..options import Options, next_tick
from ..server.client_socket import ClientSocket
from ..server.gunicorn import Takeover
from ..wire import control
from ..wire.message import Batch, Position, framed
from .callbacks import Runner


class HandedOff:
    """A member of an audience that writes what it is offered to its own socket."""

    __slots__ = (
        "_backlog",
        "_finished",
        "_opened_at",
        "_options",
        "_release",
        "_rest",
        "_runner",
        "_sent",
        "_socket",
        "_source",
        "_stuck_since",
        "_takeover",
        "active_at",
        "channels",
        "closed",
        "floor",
        "numbered",
    )

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        client: ClientSocket,
        takeover: Takeover,
        *,
        opened_at: float,
        source: Member,
        release: Callable[[], None] | None,
    ) -> None:
        self.channels = mailbox.channels
        self.numbered = mailbox.numbered
        self.floor = mailbox.floor
        self.closed: str | None = None
        #: When it was last sent something that a heartbeat would be: an id, if it has any.
        self.active_at = time.monotonic()
        self._runner = runner
        self._options = options
        self._socket = client
        self._takeover = takeover
        self._opened_at = opened_at
        #: What says how far this client has come; itself, unless a callback stands in between.
        self._source = None if source is mailbox else source
        self._release = release
        self._finished = False
        self._sent = 0
        #: What the socket did not take of a write, and since when it takes nothing.
        self._rest = b""
        self._stuck_since = self.active_at
        #: What waits behind it.
        self._backlog: Subscription | None = None

    def begin(self, batches: list[Batch]) -> None:
        """Watch the client, and write what had come for it so far."""
        self._runner.hub.metrics.count("handed_off")
        self._socket.watch(self._gone)
        for batch in batches:
            self._write(batch)
        self._runner.hub.keep_time(self, self._next_tick())

    # -- what the hub asks of its members ----------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether all that came has gone out."""
        return not self._rest

    def go_live(self, position: Position | None, *, waited_until: float | None = None) -> None:
        """Change nothing: it has been live since it was a mailbox."""

    def offer(self, batch: Batch) -> None:
        """Write a batch; never blocks, never raises."""
        if self.closed is not None:
            return
        if self.floor is not None and batch.messages:
            newer = batch.after(self.floor)
            if newer is None:
                return
            batch = newer
        self._write(batch)

    def beat(self, position: Position | None) -> bool:
        """Write a heartbeat if the client is idle; say whether it was."""
        if self._rest or self.closed is not None:
            return False
        if not self.numbered:
            position = None
        elif position is not None and self.floor is not None:
            # From history it may have come further than this worker has live.
            position = max(position, self.floor)
        self._write(control.heartbeat(position))
        return True

    def lose(self, until: Position, reason: str, *, restart: Position | None = None) -> bool:
        """Tell the client to reset, unless its own position shows that it missed nothing."""
        if self.closed is not None:
            return False
        if restart is None and self.floor is not None and self.floor >= until:
            return False
        if restart is not None:
            self.floor = None
        self._write(control.reset(reason, restart))
        return True

    def close(self, reason: str, *, last: Batch | None = None) -> bool:
        """End the response with a reason, after what waits and `last`; idempotent."""
        if self.closed is not None:
            return False
        if last is not None and reason not in UNREADABLE:
            self._write(last)
        self.closed = self.closed or reason
        if reason in UNREADABLE:
            self._finish()
        elif not self._rest and not self._finished:
            self._terminate()
        return True

    # -- the socket --------------------------------------------------------------------------------

    def _write(self, batch: Batch) -> None:
        if not batch.size:
            # As a chunk it would end the response.
            return
        if self._rest:
            self._wait(batch)
        elif self._takeover.chunked:
            self._send(batch.chunk if self.numbered else batch.bare_chunk, batch.position)
        else:
            self._send(batch.data if self.numbered else batch.bare, batch.position)

    def _send(self, data: bytes, position: Position | None = None) -> None:
        now = time.monotonic()
        if position is not None or not self.numbered:
            self.active_at = now
        try:
            sent = os.write(self._socket.fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._gone()
            return
        self._sent += sent
        if sent:
            self._stuck_since = now
        self._rest = data[sent:]
        if self._rest:
            self._socket.when_writable(self._flush)

    def _wait(self, batch: Batch) -> None:
        """Put a batch behind what the socket does not take; a full mailbox may end the client."""
        if self._backlog is None:
            self._backlog = Subscription(
                limit=self._options.buffer,
                overflow=self._options.overflow,
                numbered=self.numbered,
            )
            self._backlog.on_drop = self._runner.hub.report_dropped
        self._backlog.offer(batch)
        if self._backlog.closed is not None:
            self.close(self._backlog.closed)

    def _flush(self) -> bool:
        """Go on writing; say whether there is more."""
        while self._rest and not self._finished:
            rest = self._rest
            self._send(rest)
            if len(self._rest) == len(rest):
                return True
            if not self._rest and self._backlog is not None:
                batches = self._backlog.take(0)
                self._backlog = None
                data = b"".join([b.data if self.numbered else b.bare for b in batches])
                if data:
                    self._send(framed(data) if self._takeover.chunked else data)
        if self._rest:
            return True
        if self.closed is not None and not self._finished:
            self._terminate()
        return False

    def _terminate(self) -> None:
        """End the body as its framing says."""
        if self._takeover.chunked:
            self._send(b"0\r\n\r\n")
        self._finish()

    def _gone(self) -> None:
        if self.closed is None:
            self.closed = "gone"
        self._finish()

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        self._rest = b""
        self._backlog = None
        if self.closed in UNREADABLE:
            self._socket.cut()
        self._socket.release()
        # We may be in the loop's own greenlet, or inside a fan-out, which must not block.
        concurrency.soon(self._leave)

    def _leave(self) -> None:
        self._runner.hub.leave(self)
        if self._release is not None:
            self._release()
        seconds = time.monotonic() - self._opened_at
        self._takeover.log(seconds, self._sent)
        self._runner.report_end(self._options, self.closed or "gone", seconds)

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Do what is due: the ticker calls this."""
        if self._finished:
            return None
        hub = self._runner.hub
        if self._rest and now - self._stuck_since > hub.settings.write_timeout:
            self.closed = "write timeout"
            self._finish()
            return None
        max_age = self._options.max_age
        if max_age is not None and now - self._opened_at >= max_age:
            self.close("max age", last=hub.farewell("max age"))
        elif now - self.active_at >= self._options.heartbeat * 0.7:
            self.active_at = now
            hub.beat(self, self._source or self)
        return now + self._next_tick()

    def _next_tick(self) -> float:
        hub = self._runner.hub
        write_timeout = hub.settings.write_timeout
        return next_tick(self._options, write_timeout, self._opened_at, self.active_at)
