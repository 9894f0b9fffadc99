"""What the WSGI server tells us: whether this worker goes on, and how to take a response over.

Everything here is optional: under a server that we do not know, streams work and nothing drains.
"""

from __future__ import annotations

import functools
import logging
import re
import signal
import sys
from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from .. import concurrency

log = logging.getLogger("flask_redis_events")


def _worker() -> Any:
    """Return gunicorn's worker: in each class of worker its method handles SIGTERM."""
    handler = signal.getsignal(signal.SIGTERM)
    worker = getattr(handler, "__self__", None)
    return worker if hasattr(worker, "alive") and hasattr(worker, "cfg") else None


def draining() -> bool:
    """Say whether this worker is about to end: SIGTERM, HUP, a reload, or max_requests."""
    worker = _worker()
    return worker is not None and not worker.alive


def stream_limit() -> int | None:
    """Return how many streams leave a worker of gunicorn room for other requests."""
    worker = _worker()
    if worker is None:
        return None
    if type(worker).__name__ == "ThreadWorker":
        room = worker.cfg.threads
    else:
        room = getattr(worker, "worker_connections", None)
    return max(1, int(room * 0.8)) if isinstance(room, int) else None


def warn_if_unfit() -> None:
    """Tell the log of a worker that streams would fill."""
    worker = _worker()
    kind = type(worker).__name__
    if kind == "SyncWorker" or (kind == "ThreadWorker" and worker.cfg.threads < 2):
        log.warning(
            "This worker of gunicorn serves one request at a time, and one stream takes all of it:"
            " use --worker-class gevent."
        )


class Takeover:
    """What is needed to go on with a response that gunicorn takes for finished.

    Of the request it keeps what the line in the access log needs, and no more: a worker may hold
    ten thousand of these for hours.
    """

    __slots__ = ("_environ", "_headers", "_sent", "_status", "_worker", "chunked")

    def __init__(self, response: Any, environ: Mapping[str, Any]) -> None:
        self.chunked: bool = response.chunked
        worker = _worker()
        # Older gunicorns do not say; their logger writes no line all the same.
        logs = worker is not None and getattr(worker.log, "access_log_enabled", True)
        self._worker = worker if logs else None
        if self._worker is None:
            return
        named = _named(worker.cfg.access_log_format)
        self._status = sys.intern(response.status)
        self._sent = response.sent
        self._environ = {
            name: value
            for name, value in environ.items()
            if isinstance(value, str) and (name in _LOGGED or name.lower() in named)
        }
        given = (response.req.headers, response.headers)
        self._headers = [[h for h in headers if h[0].lower() in named] for headers in given]

    def log(self, seconds: float, sent: int) -> None:
        """Write the line that gunicorn would have written at the end of the response."""
        if self._worker is None:
            return
        asked, answered = self._headers
        response = SimpleNamespace(status=self._status, sent=self._sent + sent, headers=answered)
        request = SimpleNamespace(headers=asked)
        self._worker.log.access(response, request, self._environ, timedelta(seconds=seconds))


#: Marks a request whose response goes on when gunicorn logs it.
_GOES_ON = "flask_redis_events.goes_on"


def _has_ended(record: logging.LogRecord) -> bool:
    """Keep a response's line out of the access log until the response ends."""
    return not isinstance(record.args, Mapping) or f"{{{_GOES_ON}}}e" not in record.args


#: What gunicorn's log takes from a request, whatever the format of the line.
_LOGGED = frozenset(
    {
        "REMOTE_ADDR",
        "REQUEST_METHOD",
        "RAW_URI",
        "SERVER_PROTOCOL",
        "PATH_INFO",
        "QUERY_STRING",
        "HTTP_REFERER",
        "HTTP_USER_AGENT",
        "HTTP_AUTHORIZATION",
    }
)


@functools.lru_cache(maxsize=8)
def _named(line_format: str) -> frozenset[str]:
    """Return the headers and variables that a format names: `%({user-agent}i)s`, `%({x}e)s`."""
    return frozenset(name.lower() for name in re.findall(r"%\(\{([^}]*)\}[ioe]\)", line_format))


def let_go(response: Any, environ: dict[str, Any]) -> None:
    """Let gunicorn end a body with nothing, log nothing, and close its own descriptor only."""
    response.chunked = False
    response.force_close()
    environ[_GOES_ON] = True
    access_log = getattr(_worker().log, "access_log", None)
    if access_log is not None:
        access_log.addFilter(_has_ended)  # once, however often


def gunicorn_response(environ: Mapping[str, Any], start_response: Any) -> Any:
    """Return gunicorn's own response object, where its gevent worker can do without it.

    Not where a middleware has put itself in between, nor where the connection is not plain HTTP/1.
    """
    response = getattr(start_response, "__self__", None)
    wsgi = sys.modules.get("gunicorn.http.wsgi")
    ggevent = sys.modules.get("gunicorn.workers.ggevent")
    if wsgi is None or ggevent is None or type(response) is not wsgi.Response:
        return None
    if type(_worker()) is not ggevent.GeventWorker or not concurrency.patched():
        return None
    return response if environ.get("REQUEST_METHOD") == "GET" else None
