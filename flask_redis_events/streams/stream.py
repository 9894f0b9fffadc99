"""One response: a body that a WSGI server iterates over, from its first byte to its end.

It is an iterator with a `close()` and not a generator, because a server may close it before the
first byte (HEAD), and closing must free everything whatever happened before.  Nothing is registered
until the first byte is asked for.

Under gunicorn's gevent worker the server is asked for the first frames only.  Then the body ends
for gunicorn, and the hub writes the client's socket, without a greenlet, a request or a context.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Generator, Iterator

from .. import concurrency, endings
from ..clients import Owner, Subscription
from ..endings import Ending
from ..exceptions import SubscriptionClosed
from ..hub import FAREWELL, Hub
from ..options import Options, next_tick
from ..server import ClientSocket, SocketWriter, Takeover
from ..wire import PART, Batch, control, encoded
from .callbacks import Runner, StreamEvent
from .opening import find_beginning
from .producer import Producer
from .reauthorization import Reauthorization
from .source import Source


class Stream(Owner):
    """A client's stream, whatever its source."""

    __slots__ = (
        *("_frames", "_given", "_opened_at", "_over", "_socket", "_timed", "_writer"),
        *("_writing_since", "begun", "client", "hub", "options", "runner", "source", "takeover"),
    )

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        source: Source,
        options: Options,
        socket: ClientSocket | None,
    ) -> None:
        self.hub = hub
        self.runner = runner
        self.source = source
        self.options = options
        self.client: Subscription = source.target
        #: What may take the response over from gunicorn, where that is the server.
        self.takeover: Takeover | None = None
        self._socket = socket
        #: What the server is given, while it asks.
        self._frames: Iterator[bytes] | None = None
        #: What writes the socket, once the server does not.
        self._writer: SocketWriter | None = None
        self._opened_at = 0.0
        #: When the server took a chunk that it has not yet come back from, and how much in all.
        self._writing_since: float | None = None
        self._given = 0
        #: Whether the first frames are made, and what follows is what the client gets.
        self.begun = False
        self._timed = self._over = False

    # -- what the WSGI server calls ----------------------------------------------------------------

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        if self._over or self._writer is not None:
            raise StopIteration
        if self._frames is None:
            self._open()
            self._frames = self._run()
        self._writing_since = None
        if self.begun and not self._timed:
            # Only now are the first frames out, as far as the server says.
            self._timed = True
            self._keep_time()
            if self._hand_off():
                raise StopIteration
        chunk = next(self._frames)
        self._given += len(chunk)
        self._writing_since = time.monotonic()
        return chunk

    def close(self) -> None:
        """Free everything, unless the hub goes on; idempotent, and fine before the first byte."""
        if self._over or self._writer is not None:
            return
        if not self._opened_at:
            self._over = True
            self.runner.finalize()
            return
        self.client.close(endings.GONE)
        self._release()
        self._leave()

    # -- the life ----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._opened_at = time.monotonic()
        self.client.owner = self
        if self.hub.open(self):
            self.hub.reports.opened(self.about.channels)
        if self._socket is not None:
            self._socket.watch(self._gone)

    def _run(self) -> Iterator[bytes]:
        try:
            if self.client.closed is None:
                yield from self._begin()
            # Where it is closed by now (full, draining), the farewell is there.
            yield from self._forward()
        except SubscriptionClosed:
            pass
        if self._socket is not None:
            self._socket.finish()

    def _begin(self) -> Generator[bytes, None, None]:
        """Yield the first frames: `ready` as soon as nothing can be missed any more."""
        last_event_id = self.runner.event.last_event_id
        beginning = yield from find_beginning(self.hub, self.source, last_event_id, self.options)
        if beginning is None:
            # It was closed before it began; the farewell is all there is.
            return
        ready = control.ready(
            beginning.position, retry=self.hub.settings.retry, heartbeat=self.options.heartbeat
        )
        on_open, greeting = self.options.on_open, b""
        if on_open is not None:
            greeting = self.runner.call(on_open, self.runner.event)
        self.source.begin(beginning.floor, beginning.batches)
        if self.runner.ended:
            position = beginning.position if self.client.numbered else None
            self.client.close(endings.ENDED, last=control.end(position))
        self.begun = True
        self.runner.report_presence(self.options)
        yield ready.encode(self.client.form) + greeting

    def _forward(self) -> Iterator[bytes]:
        """Yield what has come together, again and again."""
        client, source = self.client, self.source
        # Under threads, this one works for the producer, too.
        producer = source if isinstance(source, Producer) and not concurrency.patched() else None

        def has_news() -> bool:
            return client.has_news or (producer is not None and producer.has_work)

        while True:
            if producer is None or not (producer.work() and producer.send()):
                client.wait(has_news, None if producer is None else producer.seconds_left)
            yield from self._cut_up(client.take(0, most=PART))
            client.commit()

    def _cut_up(self, batches: list[Batch]) -> Iterator[bytes]:
        """Yield the bytes of batches in parts, as a server copies them; others run in between."""
        data = encoded(batches, self.client.form)
        if data and (not self.client.numbered or any(batch.position for batch in batches)):
            self.client.active_at = time.monotonic()
        for start in range(0, len(data), PART):
            yield data[start : start + PART]
            if len(data) > PART // 2:
                concurrency.let_others_run()

    def _hand_off(self) -> bool:
        """Let the hub write the client's socket from here on, if the server can do without it."""
        takeover, socket = self.takeover, self._socket
        if takeover is None or socket is None or self.client.closed is not None:
            return False
        if not takeover.take(self._given, socket):
            self.takeover = None
            return False
        self._frames, self._writer = None, SocketWriter(socket, self.client)
        self.hub.reports.handed_off()
        self.client.hand_over(self._writer, chunked=takeover.chunked)
        return True

    def _leave(self) -> None:
        """Give up everything, and report the end."""
        self.hub.leave(self)
        self.source.leave()
        seconds = time.monotonic() - self._opened_at
        if self._writer is not None and self.takeover is not None:
            self.takeover.report(seconds, self._writer.sent)
        ending = self.client.closed or endings.GONE
        report = functools.partial(self.runner.report_end, self.options, ending, seconds)
        self.source.when_idle(report)

    def _release(self) -> None:
        self._over, self._frames = True, None
        if self._socket is not None:
            self._socket.release()

    @property
    def about(self) -> StreamEvent:
        return self.runner.event

    # -- what ends it ------------------------------------------------------------------------------

    def dismiss(self, ending: Ending) -> bool:
        """Ask the client to come back, and end its stream; False if it has ended by now."""
        last = self.hub.farewell(ending) if ending.returns else control.end(None)
        if not self.begun:
            # Nothing was accepted for it.
            return self.client.close(ending, last=last)
        return self.source.close(ending, last)

    def _gone(self) -> None:
        self._cut(endings.GONE)

    def _cut(self, ending: Ending) -> None:
        """End the connection, also where the stream was closed before and its last bytes wait."""
        if self.client.close(ending):
            return
        if self._writer is not None:
            self.client.finished()
        elif self._socket is not None:
            self._socket.cut()

    # -- what the client tells its owner -----------------------------------------------------------

    def closed(self, ending: Ending) -> None:
        self.source.client_closed(ending)
        if ending.cut and self._writer is None and self._socket is not None:
            # The server's writer is blocked, and would stay so.
            self._socket.cut()

    def drained(self) -> None:
        self.source.client_drained()

    def dropped(self, count: int) -> None:
        self.hub.reports.dropped(count)

    def finished(self) -> None:
        if self._over:
            return
        if self._socket is not None and self.client.closed is not None and self.client.closed.cut:
            self._socket.cut()
        self._release()
        # We may be in the loop's own greenlet, or inside a fan-out, which must not block.
        concurrency.soon(self._leave)

    # -- time --------------------------------------------------------------------------------------

    def tick(self, now: float) -> float | None:
        """Do what is due: the ticker calls this."""
        if self._over:
            return None
        since = self._writing_since if self._writer is None else self._writer.stalled_since
        patience = FAREWELL if self.hub.draining else self.hub.settings.write_timeout
        if since is not None and now - since > patience:
            self._cut(endings.WRITE_TIMEOUT)
            return None
        if self._socket is not None:
            self._socket.look(self._gone)
        if self.client.closed is not None:
            return now + FAREWELL
        if now - self._opened_at >= (self.options.max_age or math.inf):
            self.dismiss(endings.MAX_AGE)
            return now + FAREWELL
        if now - self.client.active_at >= self.options.heartbeat * 0.7:
            self.client.active_at = now
            self.source.beat()
        return now + self._next_tick()

    def _keep_time(self) -> None:
        self.client.active_at = now = time.monotonic()
        if self.options.reauthorize is not None:
            self.hub.keep_time(Reauthorization(self), now + self.options.heartbeat)
        self.hub.keep_time(self, now + self._next_tick())

    def _next_tick(self) -> float:
        write_timeout = self.hub.settings.write_timeout
        return next_tick(self.options, write_timeout, self._opened_at, self.client.active_at)
