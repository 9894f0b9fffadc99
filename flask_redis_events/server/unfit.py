"""Servers that streams harm, and what to use instead.

A WSGI application cannot ask which server runs it.  The call stack of a request can tell, whatever
middleware stands in between.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

from .. import concurrency
from . import gunicorn

log = logging.getLogger("flask_redis_events")

#: The modules that call a WSGI application for an ASGI server.  ASGI's `send` accepts bytes for a
#: client that has left, and none of these passes `http.disconnect` on.
BRIDGES = {
    "a2wsgi.wsgi": "a2wsgi",
    "asgiref.wsgi": "asgiref's WsgiToAsgi",
    "hypercorn.app_wrappers": "Hypercorn",
    "starlette.middleware.wsgi": "Starlette's WSGIMiddleware",
    "uvicorn.middleware.wsgi": "uvicorn's WSGI interface",
}


def warn(environ: Mapping[str, Any]) -> None:
    """Tell the log of a server that streams harm; `environ` is of a request that it serves."""
    modules = set(_modules())
    bridge = next((BRIDGES[name] for name in BRIDGES if name in modules), None)
    if bridge is not None:
        log.error(
            "%s does not report a client that has left, so that its stream stays open, takes a"
            " thread, and keeps the server from ending."
            " Serve the application with gunicorn --worker-class gevent, and not over ASGI.",
            bridge,
        )
    elif _is_single(environ) and "werkzeug.test" not in modules:
        log.warning(
            "%s serves one request at a time, and one stream takes all of it:"
            " use gunicorn --worker-class gevent.",
            environ.get("SERVER_SOFTWARE", "This server"),
        )


def _modules() -> Iterator[str]:
    """Yield the names of the modules whose functions are being called."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        yield frame.f_globals.get("__name__", "")
        frame = frame.f_back


def _is_single(environ: Mapping[str, Any]) -> bool:
    threads = environ.get("wsgi.multithread", True) and not gunicorn.has_one_thread()
    return not (threads or concurrency.patched())
