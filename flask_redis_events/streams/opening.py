"""The time from a stream's first byte to its first frame: Redis acknowledges, and is perhaps asked.

Redis is asked beside the stream, as it may take long to answer while the client leaves or the
worker ends.  Meanwhile comments make the headers leave, and keep the connection alive.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Generator

from .. import concurrency
from ..concurrency import backoff
from ..exceptions import BrokerError
from ..hub import Hub
from ..options import Options
from ..wire import sse
from .resume import Beginning, Request, begin_at_once, begin_from_redis
from .source import Source

log = logging.getLogger("flask_redis_events")

#: Seconds that the first frame waits for Redis before a comment makes the headers leave.
PATIENCE = 0.5


class Opening:
    """Finds where a stream begins."""

    def __init__(
        self, hub: Hub, source: Source, last_event_id: str | None, options: Options
    ) -> None:
        self._hub = hub
        self._source = source
        self._client = source.client
        self._last_event_id = last_event_id
        self._options = options
        self._patience = PATIENCE

    def find(self) -> Generator[bytes, None, Beginning | None]:
        """Yield a comment now and then; return where to begin, or None if the stream is over."""
        self._source.open()
        inbox, channels = self._source.inbox, self._source.channels
        if not channels:
            return Beginning()
        while not self._client.wait(lambda: inbox.live or self._over, self._patience):
            yield self._comment()
        if self._over:
            return None
        request = Request(inbox, channels, self._last_event_id, self._options.backlog)
        return begin_at_once(self._hub, request) or (yield from self._ask(request))

    def _ask(self, request: Request) -> Generator[bytes, None, Beginning | None]:
        for attempt in itertools.count():
            answer: list[Beginning | Exception] = []
            concurrency.spawn("beginning", functools.partial(self._answer, request, answer))
            has_come = functools.partial(self._has_come, answer)
            while not self._client.wait(has_come, self._patience):
                yield self._comment()
            if self._over:
                break
            if isinstance(answer[0], Beginning):
                return answer[0]
            if not isinstance(answer[0], BrokerError):
                raise answer[0]
            # Never a 5xx, nor an end: the browser waits with us until Redis is back.
            log.warning("A stream waits for history: %s", answer[0])
            yield self._comment()
            self._client.wait(lambda: self._over, backoff(attempt))
        return None

    def _answer(self, request: Request, answer: list[Beginning | Exception]) -> None:
        try:
            answer.append(begin_from_redis(self._hub, request))
        except Exception as error:
            answer.append(error)
        self._client.notify()

    def _has_come(self, answer: list[Beginning | Exception]) -> bool:
        return bool(answer) or self._over

    @property
    def _over(self) -> bool:
        return self._client.closed is not None or self._source.inbox.closed is not None

    def _comment(self) -> bytes:
        # The next one need only keep the connection alive.
        self._patience = self._options.heartbeat
        return sse.COMMENT
