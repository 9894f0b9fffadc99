"""The time from a stream's first byte to its first frame: Redis acknowledges, and is perhaps asked.

Redis is asked beside the stream, as it may take long to answer while the client leaves or the
worker ends.  Meanwhile comments make the headers leave, and keep the connection alive.
"""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Generator, Iterator

from .. import concurrency
from ..clients import Subscription
from ..concurrency import backoff
from ..exceptions import BrokerError
from ..hub import Hub
from ..options import Options
from ..wire import sse
from .resume import Asked, Beginning, begin_at_once, begin_from_redis
from .source import Source

log = logging.getLogger("flask_redis_events")

#: Seconds that the first frame waits for Redis before a comment makes the headers leave.
PATIENCE = 0.5


def find_beginning(
    hub: Hub, source: Source, last_event_id: str | None, options: Options
) -> Generator[bytes, None, Beginning | None]:
    """Yield a comment now and then; return where to begin, or None if the stream is over."""
    source.open()
    client, inbox, channels = source.target, source.inbox, source.channels
    if not channels:
        return Beginning()
    answer: list[Beginning | Exception] = []

    def over() -> bool:
        return client.closed is not None or inbox.closed is not None

    def waiting(happened: Callable[[], object]) -> Iterator[bytes]:
        patience = PATIENCE
        while not client.wait(lambda: happened() or over(), patience):
            yield sse.COMMENT
            patience = options.heartbeat

    yield from waiting(lambda: inbox.live)
    asked = Asked(hub, inbox, channels, last_event_id, options.backlog)
    found = None if over() else begin_at_once(asked)
    for attempt in itertools.count():
        if found is not None or over():
            return found
        answer.clear()
        ask = functools.partial(begin_from_redis, asked)
        concurrency.spawn("beginning", functools.partial(_ask, answer, client, ask))
        yield from waiting(lambda: answer)
        got = answer[0] if answer else None
        if isinstance(got, Beginning):
            found = got
        elif isinstance(got, BrokerError):
            # Never a 5xx, nor an end: the browser waits with us until Redis is back.
            log.warning("A stream waits for history: %s", got)
            yield sse.COMMENT
            client.wait(over, backoff(attempt))
        elif got is not None and not over():
            raise got
    return None


def _ask(
    answer: list[Beginning | Exception], client: Subscription, ask: Callable[[], Beginning]
) -> None:
    try:
        answer.append(ask())
    except Exception as error:
        answer.append(error)
    client.notify()
