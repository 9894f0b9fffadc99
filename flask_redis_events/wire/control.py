"""The frames that speak of the stream itself: named events with JSON data.

Named, so that `onmessage` never sees them; with data, as several clients turn a block that has only
an id or a retry into an empty event.  None is called `open` or `error`: `EventSource` fires those.
"""

from __future__ import annotations

import functools

from . import sse as wire
from .message import Batch, Position

#: A Last-Event-ID that ends so belongs to a stream that ended for good: it is answered with 204.
END_MARK = "end"


def is_end(last_event_id: str) -> bool:
    """Say whether a client that comes back with this id was told that the stream is over."""
    return last_event_id == END_MARK or last_event_id.endswith("." + END_MARK)


def ready(position: Position | None, *, retry: float) -> Batch:
    """The first frame: from here on nothing is missed.  `retry` is in seconds."""
    data = {"id": str(position)} if position else {}
    return _control("ready", data, position, retry=retry)


@functools.lru_cache(maxsize=16)
def heartbeat(position: Position | None) -> Batch:
    """The stream is alive; where there is a position, it moves the browser's cursor there."""
    if position is None:
        return Batch(control=wire.COMMENT)
    return _control("heartbeat", {"id": str(position)}, position)


class Loss(Batch):
    """A `reset` with what was lost, for who stands between the channels and several clients."""

    __slots__ = ("reason", "restart", "until")

    def __init__(
        self,
        reason: str,
        until: Position,
        *,
        position: Position | None = None,
        restart: Position | None = None,
    ) -> None:
        position = position or restart
        super().__init__(control=reset(reason, position).data, position=position)
        self.reason = reason
        self.until = until
        self.restart = restart


def reset(reason: str, position: Position | None) -> Batch:
    """Messages may be missing here: the page should load its state anew."""
    return _control("reset", {"reason": reason}, position)


def reconnect(reason: str, *, retry: float) -> Batch:
    """The stream ends here, and the browser comes back after `retry` seconds."""
    return _control("reconnect", {"reason": reason}, None, retry=retry)


def end(position: Position | None) -> Batch:
    """The stream is over for good; the id is marked, so that the browser can be told to stop."""
    id = f"{position}.{END_MARK}" if position else END_MARK
    return Batch(control=wire.encode("{}", event="end", id=id))


def _control(
    name: str, data: dict[str, str], position: Position | None, *, retry: float | None = None
) -> Batch:
    frame = wire.encode(
        wire.dumps(data),
        event=name,
        id=str(position) if position else None,
        retry=None if retry is None else round(retry * 1000),
    )
    return Batch(control=frame, position=position)
