"""What templates write: a stream's URL, and the attributes with which a library opens it."""

from __future__ import annotations

from typing import Any

from flask import url_for
from markupsafe import Markup

from . import datastar, htmx, turbo
from .exceptions import FieldError
from .wire import Position


class Attributes:
    """The functions of the extension for templates that open streams.

    `values` are those of the endpoint's URL, as in `url_for`.  `since` is the position at which the
    page's state was read, so that the stream begins right behind it; None begins at the request.
    """

    def source(self, endpoint: str, *, since: str | Position | None = None, **values: Any) -> str:
        """Return the URL of a stream."""
        if since is not None:
            if Position.parse(str(since)) is None:
                raise FieldError(f"since= takes an id like '1795420087121-0', not {since!r}.")
            values["last_event_id"] = str(since)
        return url_for(endpoint, **values)

    def htmx(self, endpoint: str, *, since: str | Position | None = None, **values: Any) -> Markup:
        """Return the attributes that connect an element with htmx 2 or 4."""
        return htmx.attributes(self.source(endpoint, since=since, **values))

    def turbo(self, endpoint: str, *, since: str | Position | None = None, **values: Any) -> Markup:
        """Return the attributes of a `<turbo-stream-source>`."""
        return turbo.attributes(self.source(endpoint, since=since, **values, dialect="turbo"))

    def datastar(
        self, endpoint: str, *, since: str | Position | None = None, **values: Any
    ) -> Markup:
        """Return the attributes that connect an element with Datastar."""
        return datastar.attributes(self.source(endpoint, since=since, **values, dialect="datastar"))
