"""What the WSGI server tells us: whether this worker goes on, what became of a client's socket.

Everything here is optional: under a server that we do not know, streams work, clients that leave
are noticed by their heartbeats, and nothing drains.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
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
    connections = getattr(worker, "worker_connections", None)
    return max(1, int(connections * 0.8)) if isinstance(connections, int) else None


class ClientSocket:
    """A client's plain TCP or Unix socket, while the server still owns it.

    `watch` tells at once when the client leaves; `cut` ends the connection also under a writer that
    is blocked; `finish` makes the server close it after the response.
    """

    def __init__(self, sock: socket.socket) -> None:
        # A duplicate that nobody waits on: shutting it down shuts the connection down, and does not
        # raise in the greenlet that waits on the server's own socket object.
        self._socket = socket.socket(fileno=os.dup(sock.fileno()))
        self._watcher: Any = None
        self._junk = 0

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> ClientSocket | None:
        """Return the socket behind a request, if it is in reach."""
        sock = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
        # The bytes of a TLS socket are not ours to read, nor those of a HTTP/2 connection.
        if not isinstance(sock, socket.socket) or hasattr(sock, "cipher"):
            return None
        if not str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/1"):
            return None
        return cls(sock)

    def watch(self, gone: Callable[[], None]) -> bool:
        """Call `gone` when the client closes; False where nothing can watch (no gevent)."""
        if not concurrency.patched():
            return False
        hub = sys.modules["gevent"].get_hub()
        self._watcher = hub.loop.io(self._socket.fileno(), 1)
        self._watcher.start(self._readable, gone)
        return True

    def _readable(self, gone: Callable[[], None]) -> None:
        # Bytes are thrown away, as they would hide the end that comes after them.
        try:
            received = os.read(self._socket.fileno(), 16384)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self._junk += len(received)
        if not received or self._junk > JUNK:
            self._stop_watching()
            gone()

    def cut(self) -> None:
        """End the connection now, unsent bytes included."""
        self._shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Say that no request follows on this connection, so that the server closes it at once."""
        self._shutdown(socket.SHUT_RD)

    def release(self) -> None:
        """Let go of the socket; idempotent."""
        self._stop_watching()
        self._socket.close()

    def _shutdown(self, how: int) -> None:
        try:
            self._socket.shutdown(how)
        except OSError:
            pass

    def _stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.stop()
            watcher.close()
