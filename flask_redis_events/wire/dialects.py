"""How a page learns of `reset` and `refresh` if its library ignores events with other names.

Turbo reads unnamed events only, and Datastar its own.  So the URL of a stream may name a dialect,
and each such event is preceded by the same in the library's words.  It is preceded, and not
followed, because the id of the event stands last: a client that is cut off in between gets both
again.
"""

from __future__ import annotations

import re

from . import ai_sdk

_SIGNALS = b"event: datastar-patch-signals\ndata: signals {%b}\n\n"

#: Dialect -> event -> its words.  A signal of Datastar acts when it changes.
DIALECTS: dict[str, dict[bytes, bytes]] = {
    "turbo": dict.fromkeys(
        (b"reset", b"refresh"), b'data: <turbo-stream action="refresh"></turbo-stream>\n\n'
    ),
    "datastar": {
        b"reset": _SIGNALS % b'"_reset":true',
        b"refresh": _SIGNALS % b'"_refresh":false' + _SIGNALS % b'"_refresh":true',
    },
}

# A block as `encode` writes it.  No line of data can begin so.
_BLOCK = re.compile(rb"^(?:id: [^\n]*\n)?(?::[^\n]*\n)*event: (reset|refresh)\n", re.MULTILINE)


def translate(data: bytes, dialect: str) -> bytes:
    """Put the words of a dialect before each `reset` and `refresh` in the bytes of a stream."""
    if dialect == ai_sdk.NAME:
        return ai_sdk.translate(data)
    words = DIALECTS[dialect]
    return _BLOCK.sub(lambda found: words[found[1]] + found[0], data)
