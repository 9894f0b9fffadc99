"""Datastar 1: events that patch a page, and the attributes that connect it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from .exceptions import FieldError
from .wire import ServerSentEvent
from .wire.data import dumps, html_of, one_line

MODES = ("outer", "inner", "replace", "prepend", "append", "before", "after", "remove")


def patch_elements(
    html: object = "",
    *,
    selector: str | None = None,
    mode: str | None = None,
    use_view_transition: bool = False,
) -> ServerSentEvent:
    """Return an event that puts HTML into the page.

    Without `selector`, a CSS selector, each element goes to the one with its id.  `mode` is one of
    `MODES`; Datastar's own is "outer", which morphs.  "remove" needs no HTML.
    """
    if mode is not None and mode not in MODES:
        raise FieldError(f"mode must be one of {', '.join(MODES)}, not {mode!r}.")
    text = html_of(html)
    if not text and (mode != "remove" or selector is None):
        raise FieldError("patch_elements needs HTML, or a selector and mode='remove'.")
    lines = [] if selector is None else [f"selector {one_line('selector', selector)}"]
    if mode is not None:
        lines.append(f"mode {mode}")
    if use_view_transition:
        lines.append("useViewTransition true")
    if text:
        lines += [f"elements {line}" for line in re.split("\r\n|\r|\n", text)]
    return ServerSentEvent(raw="\n".join(lines), event="datastar-patch-elements")


def patch_signals(signals: Mapping[str, Any], *, only_if_missing: bool = False) -> ServerSentEvent:
    """Return an event that sets signals; the value None removes one."""
    if not isinstance(signals, Mapping):
        raise FieldError(f"patch_signals takes a dict of signals, not {signals!r}.")
    lines = ["onlyIfMissing true"] if only_if_missing else []
    lines.append(f"signals {dumps(dict(signals))}")
    return ServerSentEvent(raw="\n".join(lines), event="datastar-patch-signals")


def attributes(url: str) -> Markup:
    """Return the attributes of an element that is connected to a stream, until its `end`.

    The stream, in the dialect of Datastar, sets `$_reset`, at which the page is loaded again, and
    `$_refresh`, at which it may load what it shows.  Without `retry`, Datastar would not come back
    after a worker has asked it to.
    """
    # In an expression of Datastar, `$` and `@` begin the names of signals and actions.
    address = quote(url, safe="/?:=&%+,;~!*()[]#")
    options = "{retry: 'always', retryMaxCount: Infinity}"
    written = {
        "data-signals": "{_reset: false, _refresh: false}",
        "data-init": f"@get('{address}', {options})",
        "data-effect": "$_reset && location.reload()",
    }
    return Markup(" ".join(f'{name}="{escape(value)}"' for name, value in written.items()))
