"""Views whose result is made a stream: what they may return, and how they are wrapped."""

from __future__ import annotations

import functools
import inspect
import time
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any

from flask import current_app, g, request
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.wrappers import Response as WerkzeugResponse

from ..channels import Channel, Template
from ..exceptions import ChannelError, ConfigError, SetupError
from ..functions import is_generator

#: What a view is: its result is responded to, so that it need not be a response.
View = Callable[..., Any]

#: The functions that a decorator was given.  A route to one of them goes round the decorator.
_given: weakref.WeakSet[View] = weakref.WeakSet()


def decorator(respond: Callable[[Any, dict[str, Any]], Any]) -> Callable[[View], View]:
    """Wrap views so that what they return is responded to."""

    def decorate(view: View) -> View:
        if is_generator(view) or inspect.isasyncgenfunction(view):
            name = getattr(view, "__name__", view)
            raise ConfigError(
                f"The view {name!r} is a generator function: let it return one instead."
            )

        if isinstance(view, FunctionType):
            _given.add(view)

        @functools.wraps(view)
        def streaming(*args: Any, **kwargs: Any) -> Any:
            g._redis_events_asked_at = time.monotonic()
            result = current_app.ensure_sync(view)(*args, **kwargs)
            return respond(result, {**(request.view_args or {}), **kwargs})

        return streaming

    return decorate


def asked_at() -> float:
    """Return when the view of this request was called, in monotonic seconds."""
    return float(g.get("_redis_events_asked_at", time.monotonic()))


def check_route() -> None:
    """Raise `SetupError` if the request's route stands below the decorator that makes a stream."""
    view = current_app.view_functions.get(request.endpoint or "")
    if isinstance(view, FunctionType) and view in _given:
        raise SetupError(
            f"The route of {view.__name__!r} leads to the view and not to its stream: write"
            " @events.stream(…) or @events.poll(…) below the route, next to the function."
        )


def fill(templates: list[Template], values: dict[str, Any]) -> tuple[Channel, ...]:
    """Return the channels of a request, with the URL's values in their names."""
    try:
        return tuple(dict.fromkeys(template.fill(values) for template in templates))
    except ChannelError as error:
        # The URL's value came from outside: the client's fault, and not the application's.
        raise BadRequest(str(error)) from error


def is_channels(result: Any) -> bool:
    """Say whether a view has returned the channels as a list."""
    return isinstance(result, list) and all(isinstance(one, str) for one in result)


def is_callback(result: Any) -> bool:
    """Say whether a view has returned a callback, a generator function or a poll."""
    # Responses and HTTP errors are callable, too: they are WSGI applications.
    return callable(result) and not isinstance(result, (WerkzeugResponse, HTTPException))
