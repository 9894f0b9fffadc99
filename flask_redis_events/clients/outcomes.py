"""What callbacks made of messages, so that clients whose callbacks return the same share the bytes.

Most callbacks return the message itself or nothing, and are asked once for each client.
"""

from __future__ import annotations

import marshal
from collections import OrderedDict
from typing import Any

from ..wire import Batch, Message
from ..wire.data import raw_of

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


#: The types of values that JSON knows, and that hold no others.
_PLAIN = frozenset({str, int, float, bool, type(None)})


def fingerprint_of(value: Any) -> bytes | None:
    """Return bytes that only values have which are sent as the same; None if unknown.

    Only of one that `is_sent_alike` may an outcome be kept.
    """
    if type(value) is not str and isinstance(value, str):
        text = raw_of(value)
        # `marshal` begins with no NUL.
        return None if text is None else b"\0" + text.encode()
    try:
        # Version 2 of the format depends on the value alone, and not on who else refers to it.
        return marshal.dumps(value, 2)
    except ValueError:
        return None


def is_sent_alike(value: Any) -> bool:
    """Say whether all values with the fingerprint of this one are sent as it is.

    To `marshal`, all objects with the same buffer are the same, such as arrays of any shape.
    """
    try:
        return isinstance(value, str) or _is_json(value)
    except RecursionError:
        return False


def _is_json(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        if not _PLAIN.issuperset(map(type, value)):
            return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _PLAIN
    return all(map(_is_json, [inner for inner in value if type(inner) not in _PLAIN]))
