"""Turbo 8: the stream elements that change a page, and the attribute that connects it.

Elements can be joined with `+`, and are then sent in one event.
"""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup, escape

from .wire.data import html_of, one_line


def append(target: str, html: object) -> Markup:
    """Put HTML at the end of the element whose id is `target`."""
    return _change("append", target, html)


def prepend(target: str, html: object) -> Markup:
    """Put HTML at the beginning of the element whose id is `target`."""
    return _change("prepend", target, html)


def replace(target: str, html: object) -> Markup:
    """Put HTML in the place of the element whose id is `target`."""
    return _change("replace", target, html)


def morph(target: str, html: object) -> Markup:
    """Change the element whose id is `target` into what HTML says, and keep what is the same."""
    return _change("replace", target, html, method="morph")


def update(target: str, html: object) -> Markup:
    """Put HTML in the place of what the element whose id is `target` holds."""
    return _change("update", target, html)


def before(target: str, html: object) -> Markup:
    """Put HTML before the element whose id is `target`."""
    return _change("before", target, html)


def after(target: str, html: object) -> Markup:
    """Put HTML after the element whose id is `target`."""
    return _change("after", target, html)


def remove(target: str) -> Markup:
    """Remove the element whose id is `target`."""
    return _element({"action": "remove", "target": target})


def refresh(request_id: str | None = None) -> Markup:
    """Let each page load itself again.

    `request_id` is the header `X-Turbo-Request-Id` of the request that made the change; the page
    that sent it has the change already, and does not load.
    """
    own = {} if request_id is None else {"request-id": request_id}
    return _element({"action": "refresh", **own})


def attributes(url: str) -> Markup:
    """Return the attributes of a `<turbo-stream-source>`."""
    return Markup(f'src="{escape(url)}"')


def _change(action: str, target: str, html: object, **given: str) -> Markup:
    content = f"<template>{html_of(html)}</template>"
    return _element({"action": action, "target": target, **given}, content)


def _element(attributes: Mapping[str, str], content: str = "") -> Markup:
    text = [f'{name}="{escape(one_line(name, value))}"' for name, value in attributes.items()]
    return Markup(f"<turbo-stream {' '.join(text)}>{content}</turbo-stream>")
