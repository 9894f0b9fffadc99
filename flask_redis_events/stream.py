"""One response: a body that a WSGI server iterates over, from its first byte to its end.

It is an iterator with a `close()` and not a generator: a server may close it before the first byte
(HEAD), and closing must free everything whatever happened before.  Nothing is registered until the
first byte is asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from . import control, signals, wire
from .callbacks import Runner, StreamEvent
from .exceptions import BrokerError, SubscriptionClosed
from .handoff import HandedOff
from .message import Batch, Message, Position
from .options import Options, next_tick
from .resume import begin
from .server import ClientSocket, Takeover
from .subscription import Subscription

log = logging.getLogger("flask_redis_events")

#: Seconds that the first frame waits for Redis before a comment makes the headers leave.
PATIENCE = 0.5

OnMessage = Callable[[str, Any, StreamEvent], Any]


class Stream:
    """The life that all streams share; `_live` is what makes them differ."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: Mapping[str, Any],
    ) -> None:
        self.runner = runner
        self.hub = runner.hub
        self.mailbox = mailbox
        self.options = options
        self._environ: Mapping[str, Any] | None = environ
        self._socket: ClientSocket | None = None
        self._frames: Iterator[bytes] | None = None
        self._opened_at = 0.0
        #: When the server took a chunk that it has not yet come back from.
        self._writing_since: float | None = None
        self._over = False
        #: Whether the first frames are out, and what follows is what the mailbox gets.
        self.begun = False
        self._timed = False

    @property
    def shareable(self) -> bool:
        """Whether what follows the first frames needs no code for this client alone."""
        return False

    # -- what the WSGI server calls ----------------------------------------------------------------

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        if self._frames is None:
            self._open()
            self._frames = self._run()
        self._writing_since = None
        if self.begun and not self._timed:
            # Not before: a stream that is handed off has its times kept there.
            self._timed = True
            self.hub.keep_time(self, self._next_tick())
        chunk = next(self._frames)
        self._writing_since = time.monotonic()
        return chunk

    def close(self) -> None:
        """Free everything; idempotent, and fine before the first byte."""
        if self._over:
            return
        self._over = True
        self.mailbox.close("gone")
        if not self._opened_at:
            return
        self._leave()
        if self._socket is not None:
            self._socket.release()
        seconds = time.monotonic() - self._opened_at
        self.runner.report_end(self.options, self.mailbox.closed or "gone", seconds)

    # -- the life ----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._opened_at = time.monotonic()
        environ, self._environ = self._environ, None
        self._socket = ClientSocket.of(environ or {})
        self.mailbox.on_close = self._closed
        self.hub.open(self.mailbox)
        self.hub.metrics.count("opened")
        if self._socket is not None:
            self._socket.watch(self._gone)
        signals.stream_opened.send(self.runner.app, channels=self.runner.event.channels)

    def _run(self) -> Iterator[bytes]:
        try:
            yield from self._live()
        except SubscriptionClosed:
            pass
        if self._socket is not None:
            self._socket.finish()

    def hand_off(self, takeover: Takeover) -> bool:
        """Let the hub write the client's socket from here on, if that is right for this stream."""
        client = self._socket
        if client is None or not self.shareable:
            return False
        member = HandedOff(
            self.runner,
            self.mailbox,
            self.options,
            client,
            takeover,
            opened_at=self._opened_at,
        )
        waiting = self.hub.replace(self.mailbox, member)
        if waiting is None:
            return False
        member.begin(waiting)
        # The member owns the socket now; there is nothing left here to free.
        self._over = True
        return True

    def _live(self) -> Iterator[bytes]:
        """Yield what the client is sent; `SubscriptionClosed` ends the stream."""
        raise NotImplementedError

    def _forward(self) -> Iterator[bytes]:
        """Yield one chunk for all that came together, again and again."""
        while True:
            chunk = self._render(self.mailbox.take())
            if chunk:
                yield chunk
            self.mailbox.commit()

    def _render(self, batches: list[Batch]) -> bytes:
        """Make one chunk of batches."""
        numbered = self.mailbox.numbered
        return b"".join([batch.data if numbered else batch.bare for batch in batches])

    def _leave(self) -> None:
        """Give up what the stream listened to."""
        self.hub.leave(self.mailbox)

    def _end(self, position: Position | None) -> None:
        """End the stream for good: the browser is told not to come back."""
        self.mailbox.close("ended", last=control.end(position))

    def _opening(self) -> bytes:
        """Return what the application sends when the stream opens."""
        if self.options.on_open is None:
            return b""
        return self.runner.call(self.options.on_open, self.runner.event)

    def _gone(self) -> None:
        self.mailbox.close("gone")

    def _closed(self, reason: str) -> None:
        """React to the mailbox's end, whoever closed it; must not block."""
        if reason in ("overflow", "write timeout") and self._socket is not None:
            # Its writer is blocked, and would stay so: the client has stopped reading.
            self._socket.cut()

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Do what is due: the ticker calls this."""
        if self._over or self.mailbox.closed is not None:
            return None
        since = self._writing_since
        if since is not None and now - since > self.hub.settings.write_timeout:
            self.mailbox.close("write timeout")
            return None
        max_age = self.options.max_age
        if max_age is not None and now - self._opened_at >= max_age:
            self.mailbox.close("max age", last=self.hub.farewell("max age"))
            return None
        if now - self.mailbox.active_at >= self.options.heartbeat * 0.7:
            self._beat()
        return now + self._next_tick()

    def _next_tick(self) -> float:
        return next_tick(self.options, self.hub.settings.write_timeout, self._opened_at)

    def _beat(self) -> None:
        self.hub.beat(self.mailbox, self.mailbox)


class ChannelStream(Stream):
    """Messages of channels: as they were emitted, or as a callback makes them."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: Mapping[str, Any],
        *,
        callback: OnMessage | None = None,
    ) -> None:
        super().__init__(runner, mailbox, options, environ)
        #: What it listens with; the mailbox itself, unless something stands in between.
        self.inbox = mailbox
        self._callback = callback

    @property
    def shareable(self) -> bool:
        return self._callback is None and self.inbox is self.mailbox

    def _live(self) -> Iterator[bytes]:
        yield from self._begin()
        yield from self._forward()

    def _begin(self) -> Iterator[bytes]:
        """Yield the first frames: `ready` as soon as nothing can be missed any more."""
        inbox = self.inbox
        self.hub.listen(inbox)
        patience = PATIENCE
        while not inbox.live.wait(patience):
            yield wire.COMMENT
            patience = self.options.heartbeat
        beginning = None
        while beginning is None and inbox.closed is None:
            try:
                beginning = begin(
                    self.hub,
                    inbox,
                    last_event_id=self.runner.event.last_event_id,
                    backlog=self.options.backlog,
                )
            except BrokerError as error:
                # Never a 5xx, nor an end: the browser waits with us until Redis is back.
                log.warning("A stream waits for history: %s", error)
                yield wire.COMMENT
        if beginning is None:
            return
        first = control.ready(beginning.position, retry=self.hub.settings.retry)
        opening = self._opening()
        inbox.start(beginning.floor, beginning.batches)
        if self.runner.ended:
            self._end(beginning.position)
        self.begun = True
        yield first.data + opening

    def _render(self, batches: list[Batch]) -> bytes:
        if self._callback is None:
            return super()._render(batches)
        chunks: list[bytes] = []
        for batch in batches:
            if not batch.messages:
                chunks.append(batch.data)
            for message in batch.messages:
                # What came after the callback had ended the stream is not for this client.
                if not self.runner.ended:
                    chunks.append(self._call(self._callback, message))
        return b"".join(chunks)

    def _call(self, callback: OnMessage, message: Message) -> bytes:
        position = message.id if self.mailbox.numbered else None
        frames = self.runner.call(
            callback,
            message.channel,
            message.value,
            self.runner.event,
            position=position,
            name=message.event,
        )
        if self.runner.ended:
            self._end(position)
        return frames
