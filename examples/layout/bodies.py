"""What scripts post: JSON of which nothing is believed, and 400 for all that is wrong with it."""

from __future__ import annotations

import re
from typing import Any

from flask import abort, request

#: PostgreSQL stores no NUL, and half a pair of surrogates has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def posted() -> dict[str, Any]:
    """Return the object that was posted."""
    try:
        body = request.get_json()
    except RecursionError:
        abort(400, "This is nested too deeply.")
    if not isinstance(body, dict):
        abort(400, "Post an object, as JSON.")
    return body


def posted_text(name: str, *, called: str, most: int) -> str:
    """Return a text of the object, without space around it; refusals call it `called`."""
    text = posted().get(name)
    if not isinstance(text, str) or not 0 < len(text.strip()) <= most:
        abort(400, f"{called} has 1 to {most} characters.")
    if _UNSTORABLE.search(text):
        abort(400, f"{called} has only characters that can be stored.")
    return text.strip()
