"""What callbacks made of messages, so that clients whose callbacks return the same share the bytes.

Most callbacks return the message itself or nothing, and are asked once for each client.
"""

from __future__ import annotations

import marshal
from collections import OrderedDict
from typing import Any

from ..wire import Batch, Message

#: How many outcomes are kept, and how many bytes one, or its message, may have.
KEPT = 256
LARGEST = 4096


class Outcomes:
    """The last outcome of each of the last messages."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Message, tuple[object, Batch]] = OrderedDict()

    def get(self, message: Message, key: object) -> Batch | None:
        """Return what was made of a message, if it was made of the same."""
        found = self._kept.get(message)
        return found[1] if found is not None and found[0] == key else None

    def put(self, message: Message, key: object, made: Batch) -> None:
        """Keep what was made of a message."""
        if made.size > LARGEST or len(message.frame) > LARGEST:
            return
        self._kept[message] = (key, made)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)


def fingerprint_of(value: Any) -> bytes | None:
    """Return bytes that are the same for values which are the same in JSON; None if unknown."""
    try:
        # Version 2 of the format depends on the value alone, and not on who else refers to it.
        return marshal.dumps(value, 2)
    except ValueError:
        return None
