"""The frames that speak of the stream itself: named events with JSON data.

They are named, so that `onmessage` never sees them; they have data, because several clients turn a
block that has only an id or a retry into an empty event.  None is called `open` or `error`, because
`EventSource` fires those.
"""

from __future__ import annotations

import functools
from typing import Any

from . import sse
from .batch import Batch
from .data import dumps
from .position import BEGINNING, Position

#: A Last-Event-ID `<position>.end` is of a stream that ended for good: it is answered with 204.
END_MARK = "end"


def is_end(last_event_id: str) -> bool:
    """Say whether a client that comes back with this id was told that the stream is over."""
    position, _, mark = last_event_id.rpartition(".")
    # An application's own id may end so, too, such as `chapter.end`.
    return mark == END_MARK and Position.parse(position) is not None


@functools.lru_cache(maxsize=16)
def ready(position: Position | None, *, retry: float, heartbeat: float) -> Batch:
    """The first frame: from here on nothing is missed.  `retry` and `heartbeat` are in seconds.

    The page learns the time between two heartbeats, so that it knows a dead stream by its silence.
    """
    data = {**_data(position), "heartbeat": heartbeat}
    return Batch(control=_frame("ready", data, position, retry=retry), position=position)


@functools.lru_cache(maxsize=16)
def heartbeat(position: Position | None) -> Batch:
    """The stream is alive; where there is a position, it moves the browser's cursor there.

    Without a position it is named, too, because JavaScript cannot see a comment.
    """
    return _control("heartbeat", _data(position), position)


class Loss(Batch):
    """A `reset`, with what was lost: messages up to `until` may be missing here.

    The page should load its state anew.  The frame carries an id only where a client's cursor is to
    move: to the last message that was dropped, or to `restart`, where positions begin anew after
    Redis' clock went back.
    """

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
        super().__init__(control=_frame("reset", {"reason": reason}, position), position=position)
        self.reason = reason
        self.until = until
        self.restart = restart


def reset(reason: str, position: Position | None = None) -> Batch:
    """Messages may be missing here; without a position, the client's cursor stays where it is."""
    return _control("reset", {"reason": reason}, position)


def reconnect(reason: str, *, retry: float, anew: bool = False) -> Batch:
    """The stream ends here, and the browser comes back after `retry` seconds.

    `anew`: it comes back without a position, because the id of the frame is empty.
    """
    id, text = "" if anew else None, dumps({"reason": reason})
    return Batch(control=sse.encode(text, event="reconnect", id=id, retry=round(retry * 1000)))


def end(position: Position | None, state: str | None = None) -> Batch:
    """The stream is over for good; the id is marked, so that the browser can be told to stop.

    `state` is what has become of a run.
    """
    id = f"{position or BEGINNING}.{END_MARK}"
    return Batch(control=sse.encode(dumps({"state": state} if state else {}), event="end", id=id))


def _data(position: Position | None) -> dict[str, str]:
    return {"id": str(position)} if position else {}


def _control(name: str, data: dict[str, Any], position: Position | None) -> Batch:
    return Batch(control=_frame(name, data, position), position=position)


def _frame(
    name: str, data: dict[str, Any], position: Position | None, *, retry: float | None = None
) -> bytes:
    return sse.encode(
        dumps(data),
        event=name,
        id=str(position) if position else None,
        retry=None if retry is None else round(retry * 1000),
    )
