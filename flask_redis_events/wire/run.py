"""The log of a run as messages: pieces of text, which may be joined, and the marker of its end.

The marker is a message like any other, so that no client can miss it.  It begins with a comment, as
raw data does, so that no event of the application can be taken for it.  So does the run's first
message, which shows that there is a run, and not only a channel that may have one later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from . import sse
from .data import MARK, dumps, raw_of
from .message import Message

_COMMENT = re.compile(rb"(?::raw\n)?:run (begun|finished|failed|stopped|lost)\n")

#: What the first message of a run says.
BEGUN = "begun"


class Piece(NamedTuple):
    """Data that may be joined with its neighbour's: a text, or a dict with a text as `delta`."""

    value: Any
    text: str
    #: What the neighbour must have in common with it.
    kind: str


def marker(state: str) -> bytes:
    """Return the frame with which a run ends."""
    return f":run {state}\n".encode() + sse.encode(dumps({"state": state}), event="run")


def begun(bare: bytes) -> bytes:
    """Return the frame of a run's first message, without an id line as it was."""
    mark = MARK if bare.startswith(MARK) else b""
    return b"%b:run %b\n%b" % (mark, BEGUN.encode(), bare[len(mark) :])


def comes_to(message: Message) -> str | None:
    """Return what the run comes to with this message: `BEGUN`, or as what it ends; else None."""
    frame = message.frame
    found = _COMMENT.match(frame, frame.index(b"\n") + 1) if message.id else None
    return found[1].decode() if found else None


def end_of(message: Message) -> str | None:
    """Return as what the run ends with this message; None if it does not."""
    state = comes_to(message)
    return None if state == BEGUN else state


def piece_of(
    value: Any, event: str | None, *, default: Callable[[Any], Any] | None = None
) -> Piece | None:
    """Return the data as a piece; None for data that stands for itself, and for named events."""
    if event or raw_of(value) is not None:
        return None
    if isinstance(value, str):
        return Piece(value, value, "")
    if isinstance(value, dict) and isinstance(value.get("delta"), str):
        return Piece(value, value["delta"], dumps({**value, "delta": ""}, default=default))
    return None


def whole(piece: Piece, text: str) -> Any:
    """Return the data of pieces that are joined."""
    return {**piece.value, "delta": text} if piece.kind else text


def joined(messages: Iterable[Message]) -> list[Message]:
    """Join neighbouring pieces into one message each, under the id of the last of them."""
    result: list[Message] = []
    run: list[tuple[Message, Piece]] = []
    for message in messages:
        piece = None if message.key else piece_of(message.value, message.event)
        if run and (piece is None or piece.kind != run[-1][1].kind):
            result.append(_join(run))
            run = []
        if piece is None:
            result.append(message)
        else:
            run.append((message, piece))
    return [*result, _join(run)] if run else result


def _join(run: list[tuple[Message, Piece]]) -> Message:
    (first, piece), last = run[0], run[-1][0]
    if len(run) == 1 or last.id is None:
        return first
    frame = sse.encode(dumps(whole(piece, "".join([piece.text for _, piece in run]))))
    return Message.numbered(first.channel, frame, last.id, prev=first.prev)
