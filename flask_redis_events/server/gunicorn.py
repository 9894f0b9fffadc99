"""All that knows gunicorn's insides: does its worker go on, and how is a response taken over.

Everything here is optional: under a server that we do not know, streams work and nothing drains.
The attributes are those of gunicorn 21 to 27 (`gunicorn/workers/base_async.py`, `http/wsgi.py`).
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from .. import concurrency
from .client_socket import ClientSocket


def _worker() -> Any:
    """Return gunicorn's worker: in each class of worker its method handles SIGTERM."""
    pid = os.getpid()
    if pid not in _workers:
        # This takes long, compared to the rest of a request.
        handler = signal.getsignal(signal.SIGTERM)
        worker = getattr(handler, "__self__", None)
        if not (hasattr(worker, "alive") and hasattr(worker, "cfg")):
            return None
        _workers[pid] = worker
    return _workers[pid]


#: The worker of this process, once it was found.
_workers: dict[int, Any] = {}


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


def has_one_thread() -> bool:
    """Say whether this is a worker of threads (gthread) that has only one."""
    worker = _worker()
    return type(worker).__name__ == "ThreadWorker" and worker.cfg.threads < 2


def watch(start_response: Callable[..., Any], takeover: Takeover | None) -> Callable[..., Any]:
    """Return a `start_response` that finds gunicorn's response, whatever stands in between.

    PEP 3333 has `start_response` return the server's `write`, which is a method of gunicorn's
    response.  A middleware that only passes on, or adds a header, returns it as well.
    """

    def watching(*args: Any, **kwargs: Any) -> Any:
        write = start_response(*args, **kwargs)
        response: Any = getattr(write, "__self__", None)
        if takeover is not None:
            takeover.response = response
        if _is_response(response):
            # The connection ends with the stream.  A proxy that was not told would send it the next
            # request, and answer 502.
            response.force_close()
        return write

    return watching


def _is_response(response: Any) -> bool:
    """Say whether it is gunicorn's own, and no middleware's."""
    wsgi = sys.modules.get("gunicorn.http.wsgi")
    return wsgi is not None and type(response) is wsgi.Response


class Takeover:
    """A response that gunicorn's gevent worker begins, and the hub goes on with.

    gunicorn writes the head and the first frames.  Then its socket object loses the descriptor,
    which the hub keeps, and for gunicorn the body ends.  The access log's line, the statsd count
    and `post_request`, which gunicorn would have made then, are made when the stream is over.
    """

    __slots__ = ("_environ", "_given", "_request", "_worker", "chunked", "response")

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self._environ = environ
        self._request: Any = None
        self._worker: Any = None
        self._given = 0
        #: What `watch` found; later what the reports need of it.
        self.response: Any = None
        #: Whether the body is framed in chunks (HTTP/1.1), or ends with the connection.
        self.chunked = False

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Takeover | None:
        """Return what may take this request's response over; None under any other server."""
        worker, ggevent = _worker(), sys.modules.get("gunicorn.workers.ggevent")
        if ggevent is None or type(worker) is not ggevent.GeventWorker:
            return None
        if not concurrency.patched() or environ.get("REQUEST_METHOD") != "GET":
            return None
        return cls(environ)

    def take(self, given: int, client: ClientSocket) -> bool:
        """Take the response over after `given` bytes of its body; False where that cannot be.

        That is the case where a middleware holds back or changes what it is given, which shows in
        the number of bytes that gunicorn has written.
        """
        response = self.response
        if not _is_response(response) or response.sent != given:
            return False
        if response.response_length is not None or not client.keep(response.sock):
            return False
        self.chunked, self._given = response.chunked, given
        self._worker = _worker()
        _postpone_reports(self._worker)
        # Nothing but the hub writes from here on: not gunicorn the end of the body or a 500, nor a
        # middleware what it would add.
        response.chunked = False
        response.sock = _NOWHERE
        # On the request, because a middleware may copy the environ, and gunicorn makes a new
        # response for the error of a middleware.
        response.req.goes_on = True
        self._keep_what_reports_need(response)
        return True

    def _keep_what_reports_need(self, response: Any) -> None:
        """Keep of the request no more than its reports need.

        A worker may hold ten thousand of these for hours.
        """
        worker, self._request = self._worker, response.req
        if _has_hook(worker) or not _is_usual(worker.log):
            # An application's own hook or logger may look at anything.
            return
        self._request = None
        if getattr(worker.log, "access_log_enabled", True):
            named = _named(worker.cfg.access_log_format)
            given = (response.req.headers, response.headers)
            asked, answered = ([h for h in headers if h[0].lower() in named] for headers in given)
            self.response = (sys.intern(response.status), asked, answered)
            self._environ = {
                name: value
                for name, value in self._environ.items()
                if isinstance(value, str) and (name in _LOGGED or name.lower() in named)
            }
        else:
            self.response, self._environ = (sys.intern(response.status), (), ()), {}

    def report(self, seconds: float, sent: int) -> None:
        """Report the end of the response as gunicorn would; `sent` more bytes were written."""
        worker, request, response = self._worker, self._request, self.response
        if request is None:
            status, asked, answered = response
            request = SimpleNamespace(headers=asked)
            response = SimpleNamespace(status=status, headers=answered)
        # What a middleware would have added is not counted.
        response.sent = self._given + sent
        request.goes_on = False
        try:
            worker.log.access(response, request, self._environ, timedelta(seconds=seconds))
            if _has_hook(worker):
                worker.cfg.post_request(worker, request, self._environ, response)
        except Exception:
            worker.log.exception("A logger or post_request hook failed.")


#: A socket that takes everything, and sends nothing.
_NOWHERE = SimpleNamespace(sendall=lambda data: None)


def _postpone_reports(worker: Any) -> None:
    """Let gunicorn report nothing of a response that goes on; done once for each worker."""
    access = worker.log.access
    if getattr(access, "postpones", False):
        return

    def access_at_the_end(response: Any, request: Any, environ: Any, duration: timedelta) -> None:
        if not getattr(request, "goes_on", False):
            access(response, request, environ, duration)

    access_at_the_end.postpones = True  # type: ignore[attr-defined]
    worker.log.access = access_at_the_end
    if _has_hook(worker):
        hook = worker.cfg.post_request

        def post_request(worker: Any, request: Any, environ: Any, response: Any) -> None:
            if not getattr(request, "goes_on", False):
                hook(worker, request, environ, response)

        worker.cfg.set("post_request", post_request)


def _has_hook(worker: Any) -> bool:
    setting = worker.cfg.settings["post_request"]
    return bool(setting.get() is not setting.default)


def _is_usual(logger: Any) -> bool:
    """Say whether it is one of gunicorn's own loggers, of which we know what they look at."""
    return type(logger).__module__ in ("gunicorn.glogging", "gunicorn.instrument.statsd")


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
