"""A stream as clients of Vercel's AI SDK read it.

Their parser takes each event's data for a part of a message, whatever the event's name is.  So
named events become comments, parts that the SDK knows, or `[DONE]` where the stream is over.
"""

from __future__ import annotations

import json

from . import sse
from .data import dumps

#: The dialect of these clients.
NAME = "ai-sdk"
#: The header by which the SDK knows its protocol.
HEADERS = {"x-vercel-ai-ui-message-stream": "v1"}
_ENDS = {
    "stopped": {"type": "abort"},
    "failed": {"type": "error", "errorText": "The answer failed."},
    "lost": {"type": "error", "errorText": "The answer was interrupted."},
}


def translate(data: bytes) -> bytes:
    """Put what the SDK knows in the place of named events."""
    return b"".join([_translated(block + b"\n\n") for block in data.split(b"\n\n") if block])


def _translated(block: bytes) -> bytes:
    if b"event: " not in block:
        return block if b"data: " in block else sse.COMMENT
    [event] = sse.decode(block)
    if event.event == "message":
        return block
    if event.event == "end":
        part = _ENDS.get(json.loads(event.data).get("state"))
        return (sse.encode(dumps(part)) if part else b"") + sse.encode("[DONE]")
    if event.event == "reset":
        text = f"Parts of the answer may be missing: {json.loads(event.data)['reason']}."
        return sse.encode(dumps({"type": "error", "errorText": text}))
    return sse.COMMENT
