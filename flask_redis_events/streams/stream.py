"""One response: a body that a WSGI server iterates over, from its first byte to its end.

It is an iterator with a `close()` and not a generator: a server may close it before the first byte
(HEAD), and closing must free everything whatever happened before.  Nothing is registered until the
first byte is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from .. import signals
from ..clients.subscription import Subscription
from ..exceptions import SubscriptionClosed
from ..options import Options, next_tick
from ..server.client_socket import ClientSocket
from ..server.gunicorn import Takeover, let_go
from ..wire import control
from ..wire.message import Batch, Position
from .callbacks import Runner
from .handoff import HandedOff

#: Seconds that a client has to take the last words of a worker that drains.
FAREWELL = 0.5


class Stream:
    """The life that all streams share; `_live` is what makes them differ."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: dict[str, Any],
    ) -> None:
        self.runner = runner
        self.hub = runner.hub
        self.mailbox = mailbox
        self.options = options
        #: gunicorn's own response, where the hub can go on with it.
        self.server_response: Any = None
        self._environ: dict[str, Any] = environ
        self._socket: ClientSocket | None = None
        self._frames: Iterator[bytes] | None = None
        self._opened_at = 0.0
        #: When the client was last sent something that a heartbeat would be: an id, if it has any.
        self._active_at = 0.0
        #: When the server took a chunk that it has not yet come back from, and how much in all.
        self._writing_since: float | None = None
        self._given = 0
        self._over = False
        #: Whether the first frames are out, and what follows is what the mailbox gets.
        self.begun = False
        #: Leaves what else the stream is a member of, once it is.
        self.release: Callable[[], None] | None = None
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
            if self._hand_off():
                raise StopIteration
            # Not before: a stream that is handed off has its times kept there.
            self._timed = True
            self._active_at = time.monotonic()
            self.hub.keep_time(self, self._next_tick())
        chunk = next(self._frames)
        self._given += len(chunk)
        self._writing_since = time.monotonic()
        return chunk

    def close(self) -> None:
        """Free everything; idempotent, and fine before the first byte."""
        if self._over:
            return
        self._over = True
        self.mailbox.close("gone")
        if not self._opened_at:
            self.runner.finalize()
            return
        self._leave()
        if self._socket is not None:
            self._socket.release()
        seconds = time.monotonic() - self._opened_at
        self.runner.report_end(self.options, self.mailbox.closed or "gone", seconds)

    # -- the life ----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._opened_at = time.monotonic()
        self._socket = ClientSocket.of(self._environ)
        if self.server_response is None:
            self._environ = {}
        self.mailbox.on_close = self._closed
        self.mailbox.on_drop = self.hub.report_dropped
        self.hub.open(self.mailbox)
        self.hub.metrics.count("opened")
        if self._socket is not None:
            self._socket.watch(self._gone)
        signals.tell(signals.stream_opened, self.runner.app, channels=self.runner.event.channels)

    def _run(self) -> Iterator[bytes]:
        try:
            if self.mailbox.closed is None:
                yield from self._live()
            # The worker was full, or draining: the farewell is there.
            yield from self._forward()
        except SubscriptionClosed:
            pass
        if self._socket is not None:
            self._socket.finish()

    def _hand_off(self) -> bool:
        """Let the hub write the client's socket from here on, if that is right for this stream."""
        theirs, self.server_response = self.server_response, None
        environ, self._environ = self._environ, {}
        client = self._socket
        # Not where a middleware holds back or changes what we give it.
        if client is None or theirs is None or theirs.sent != self._given:
            return False
        if theirs.response_length is not None or not client.keep():
            return False
        member = HandedOff(
            self.runner,
            self.mailbox,
            self.options,
            client,
            Takeover(theirs, environ),
            opened_at=self._opened_at,
            source=self.source,
            release=self.release,
        )
        waiting = self.hub.replace(self.mailbox, member)
        if waiting is None:
            return False
        let_go(theirs, environ)
        member.begin(waiting)
        # The member owns the socket now; there is nothing left here to free.
        self._over = True
        self._frames = None
        return True

    def _live(self) -> Iterator[bytes]:
        """Yield what the client is sent; `SubscriptionClosed` ends the stream."""
        raise NotImplementedError

    def _forward(self) -> Iterator[bytes]:
        """Yield one chunk for all that came together, again and again."""
        while True:
            batches = self.mailbox.take()
            chunk = self._render(batches)
            if chunk:
                if not self.mailbox.numbered or any(batch.position for batch in batches):
                    self._active_at = time.monotonic()
                yield chunk
            self.mailbox.commit()

    def _render(self, batches: list[Batch]) -> bytes:
        """Make one chunk of batches."""
        numbered = self.mailbox.numbered
        return b"".join([batch.data if numbered else batch.bare for batch in batches])

    def _leave(self) -> None:
        """Give up what the stream listened to."""
        self.hub.leave(self.mailbox)
        if self.release is not None:
            self.release()

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
        if self._over:
            return None
        since = self._writing_since
        patience = FAREWELL if self.hub.draining else self.hub.settings.write_timeout
        if since is not None and now - since > patience:
            # Or it was closed before, and its writer is blocked over the last words.
            if not self.mailbox.close("write timeout") and self._socket is not None:
                self._socket.cut()
            return None
        if self._socket is not None:
            self._socket.look(self._gone)
        if self.mailbox.closed is not None:
            return now + FAREWELL
        max_age = self.options.max_age
        if max_age is not None and now - self._opened_at >= max_age:
            self.mailbox.close("max age", last=self.hub.farewell("max age"))
            return now + FAREWELL
        if now - self._active_at >= self.options.heartbeat * 0.7:
            self._active_at = now
            self._beat()
        return now + self._next_tick()

    def _next_tick(self) -> float:
        write_timeout = self.hub.settings.write_timeout
        return next_tick(self.options, write_timeout, self._opened_at, self._active_at)

    def _beat(self) -> None:
        self.hub.beat(self.mailbox, self.source)

    @property
    def source(self) -> Subscription:
        """What says how far this stream has come."""
        return self.mailbox
