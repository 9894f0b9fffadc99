"""A stream of channels: messages as they were emitted, or as a callback makes them."""

from __future__ import annotations

import functools
import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

from .. import concurrency
from ..clients.subscription import Subscription
from ..concurrency import backoff
from ..exceptions import BrokerError
from ..options import Options
from ..wire import control
from ..wire import sse as wire
from ..wire.message import Batch, Message
from .callbacks import Runner, StreamEvent
from .resume import Beginning, begin, begin_at_once
from .stream import Stream

log = logging.getLogger("flask_redis_events")

#: Seconds that the first frame waits for Redis before a comment makes the headers leave.
PATIENCE = 0.5

Found = TypeVar("Found")
OnMessage = Callable[[str, Any, StreamEvent], Any]


class ChannelStream(Stream):
    """Messages of channels: as they were emitted, or as a callback makes them."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: dict[str, Any],
        *,
        callback: OnMessage | None = None,
    ) -> None:
        super().__init__(runner, mailbox, options, environ)
        #: What it listens with; the mailbox itself, unless something stands in between.
        self.inbox = mailbox
        self._callback = callback
        #: While Redis is asked: set when it has answered, or the stream is over.
        self._news: threading.Event | None = None

    @property
    def shareable(self) -> bool:
        return self._callback is None and self.inbox is self.mailbox

    def _live(self) -> Iterator[bytes]:
        yield from self._begin()
        yield from self._forward()

    @property
    def source(self) -> Subscription:
        """Whose channels these are, and who has come how far on them."""
        return self.inbox

    def _listen(self) -> None:
        self.hub.listen(self.inbox)

    def _prepare(self, batches: list[Batch]) -> list[Batch]:
        """Make of history what the mailbox takes."""
        return batches

    def _begin(self) -> Iterator[bytes]:
        """Yield the first frames: `ready` as soon as nothing can be missed any more."""
        inbox = self.inbox
        self._listen()
        patience = PATIENCE
        while not inbox.live.wait(patience):
            yield wire.COMMENT
            patience = self.options.heartbeat
        if inbox.closed is not None:
            # It was let go before it began; the farewell is all there is.
            return
        beginning = yield from self._find_beginning()
        if beginning is None:
            return
        first = control.ready(beginning.position, retry=self.hub.settings.retry)
        opening = self._opening()
        inbox.start(beginning.floor, self._prepare(beginning.batches))
        if self.runner.ended:
            self._end(beginning.position)
        self.begun = True
        yield first.data + opening

    def _find_beginning(self) -> Generator[bytes, None, Beginning | None]:
        """Yield a comment now and then while Redis is asked; return None if the stream is over."""
        at_once = self._find(begin_at_once)
        if at_once is not None:
            return at_once
        patience = PATIENCE
        for attempt in itertools.count():
            # Beside us: Redis may take long to answer, and the client may leave meanwhile.
            news = self._news = threading.Event()
            answer: list[Beginning | Exception] = []
            concurrency.spawn("beginning", functools.partial(self._ask, answer, news))
            while self.inbox.closed is None and not answer:
                if not news.wait(patience):
                    yield wire.COMMENT
                    patience = self.options.heartbeat
            if self.inbox.closed is not None:
                break
            if isinstance(answer[0], Beginning):
                return answer[0]
            if not isinstance(answer[0], BrokerError):
                raise answer[0]
            # Never a 5xx, nor an end: the browser waits with us until Redis is back.
            log.warning("A stream waits for history: %s", answer[0])
            yield wire.COMMENT
            news.clear()
            if self.inbox.closed is None:
                news.wait(backoff(attempt))
        return None

    def _ask(self, answer: list[Beginning | Exception], news: threading.Event) -> None:
        try:
            answer.append(self._find(begin))
        except Exception as error:
            answer.append(error)
        news.set()

    def _find(self, begin: Callable[..., Found]) -> Found:
        return begin(
            self.hub,
            self.inbox,
            self.source.channels,
            last_event_id=self.runner.event.last_event_id,
            backlog=self.options.backlog,
        )

    def _closed(self, reason: str) -> None:
        super()._closed(reason)
        if self._news is not None:
            self._news.set()

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
