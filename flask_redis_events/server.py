"""What the WSGI server tells us: whether this worker goes on, what became of a client's socket.

Everything here is optional: under a server that we do not know, streams work, clients that leave
are noticed by their heartbeats, and nothing drains.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from . import concurrency

#: A client may send so many bytes into a stream before it is taken for gone.
JUNK = 64 * 1024


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


class ClientSocket:
    """A client's TCP or Unix connection, by its descriptor.

    `watch` tells at once when the client leaves, and `look` when it is asked; `cut` ends the
    connection also under a writer that is blocked; `finish` makes the server close it after the
    response.  Until `keep`, the descriptor is the server's, which closes it after the response's
    own `close`, and so after `release`.  Over TLS the bytes are not ours to read or write.
    """

    __slots__ = ("_junk", "_kept", "_plain", "_readable", "_writable", "fd")

    def __init__(self, fd: int, *, plain: bool = True) -> None:
        self.fd = fd
        self._plain = plain
        self._kept = False
        self._readable: Any = None
        self._writable: Any = None
        self._junk = 0

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> ClientSocket | None:
        """Return the connection behind a request, if it is in reach."""
        names = ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket")
        sock = next((environ[name] for name in names if name in environ), None)
        # An HTTP/2 connection is not one client's stream alone.
        http1 = str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/1")
        if not isinstance(sock, socket.socket) or not http1:
            return None
        return cls(sock.fileno(), plain=not hasattr(sock, "cipher"))

    def keep(self) -> bool:
        """Keep the connection open when the server closes its own descriptor, and watch it anew.

        False where that cannot be, or this process may have no more descriptors.
        """
        if not self._plain:
            return False
        try:
            fd = os.dup(self.fd)
        except OSError:
            return False
        self._readable = _stop(self._readable)
        self.fd = fd
        self._kept = True
        return True

    def watch(self, gone: Callable[[], None]) -> bool:
        """Call `gone` when the client closes; False where nothing can watch (no gevent)."""
        if not self._plain or not concurrency.patched():
            return False
        _stop(self._readable)
        self._readable = concurrency.watcher(self.fd, write=False)
        self._readable.start(self._read, gone)
        return True

    def look(self, gone: Callable[[], None]) -> None:
        """Call `gone` if the client has closed, where nothing watches."""
        if not self._plain or concurrency.patched() or self.fd < 0:
            return
        sock = socket.socket(fileno=self.fd)
        try:
            while self._junk <= JUNK and (received := sock.recv(16384, socket.MSG_DONTWAIT)):
                self._junk += len(received)
        except BlockingIOError:
            return
        except OSError:
            pass
        finally:
            sock.detach()
        gone()

    def when_writable(self, write: Callable[[], bool]) -> None:
        """Call `write` whenever the client takes bytes again, until it returns False."""
        if self._writable is None:
            self._writable = concurrency.watcher(self.fd, write=True)
            self._writable.start(self._write, write)

    def _read(self, gone: Callable[[], None]) -> None:
        # Bytes are thrown away, as they would hide the end that comes after them.
        try:
            received = os.read(self.fd, 16384)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self._junk += len(received)
        if not received or self._junk > JUNK:
            self._readable = _stop(self._readable)
            gone()

    def _write(self, write: Callable[[], bool]) -> None:
        if not write():
            self._writable = _stop(self._writable)

    def cut(self) -> None:
        """End the connection now, unsent bytes included."""
        self._shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Say that no request follows on this connection, so that the server closes it at once."""
        self._shutdown(socket.SHUT_RD)

    def release(self) -> None:
        """Let go of the connection, and close it where it was kept; idempotent."""
        self._readable = _stop(self._readable)
        self._writable = _stop(self._writable)
        fd, self.fd = self.fd, -1
        if self._kept and fd >= 0:
            os.close(fd)

    def _shutdown(self, how: int) -> None:
        if self.fd < 0:
            return
        sock = socket.socket(fileno=self.fd)
        try:
            sock.shutdown(how)
        except OSError:
            pass
        finally:
            sock.detach()


def _stop(watcher: Any) -> Any:
    """Stop a watcher, if there is one; return None, to stand in its place."""
    if watcher is not None:
        watcher.stop()
        watcher.close()
    return None


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
