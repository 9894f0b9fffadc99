"""htmx 2 and 4: fragments for several targets, and the attributes that connect an element.

htmx 4 swaps the data of unnamed events into the element that is connected.  htmx 2, with its
extension `sse`, swaps the data of the events that `sse-swap` names; unnamed ones are "message".
"""

from __future__ import annotations

from markupsafe import Markup, escape

from .wire.data import html_of, one_line


def partial(target: str, html: object, *, swap: str | None = None) -> Markup:
    """Return a fragment that htmx 4 swaps into `target`, a CSS selector, wherever it arrives.

    `swap` is as in `hx-swap`; without it, the page's own way to swap is meant.
    """
    how = "" if swap is None else f' hx-swap="{escape(one_line("swap", swap))}"'
    selector = escape(one_line("target", target))
    return Markup(f'<hx-partial hx-target="{selector}"{how}>{html_of(html)}</hx-partial>')


def attributes(url: str) -> Markup:
    """Return the attributes of an element that is connected to a stream, until its `end`.

    Each version of htmx takes its own.  The page is loaded again at `reset`; `event.detail` tells
    our event from that of a form.
    """
    written = {
        "hx-ext": "sse",
        "sse-connect": url,
        "sse-close": "end",
        "hx-sse:connect": url,
        "hx-sse:close": "end",
        # htmx 2 listens to events that a trigger names; htmx 4 connects when one is fired.
        "hx-trigger": "load, sse:reset",
        "hx-on:sse:reset": "location.reload()",
        "hx-on:reset": "event.detail && location.reload()",
    }
    return Markup(" ".join(f'{name}="{escape(value)}"' for name, value in written.items()))
