"""A client's connection, by its descriptor: does it still read, and how is it ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from .. import concurrency

#: A client may send so many bytes into a stream before it is taken for gone.
JUNK = 64 * 1024


class ClientSocket:
    """A client's TCP or Unix connection, by its descriptor.

    `watch` tells at once when the client leaves, and `look` when it is asked; `cut` ends the
    connection also under a writer that is blocked; `finish` makes the server close it after the
    response.  Until `keep`, the descriptor is the server's, which closes it after the response's
    own `close`, and so after `release`.  Over TLS the bytes are not ours to read or write.
    """

    __slots__ = ("_guard", "_junk", "_kept", "_plain", "_readable", "_writable", "fd")

    def __init__(self, fd: int, *, plain: bool = True) -> None:
        self.fd = fd
        self._plain = plain
        # Guards the descriptor: the server may close it as another thread looks, and give its
        # number to the next client.  Greenlets do not come between.
        self._guard = concurrency.guard()
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
        if not self._plain or concurrency.patched():
            return
        with self._guard:
            left = self.fd >= 0 and self._has_left()
        if left:
            gone()

    def _has_left(self) -> bool:
        sock = socket.socket(fileno=self.fd)
        try:
            while self._junk <= JUNK and (received := sock.recv(16384, socket.MSG_DONTWAIT)):
                self._junk += len(received)
        except BlockingIOError:
            return False
        except OSError:
            pass
        finally:
            sock.detach()
        return True

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
        with self._guard:
            fd, self.fd = self.fd, -1
        if self._kept and fd >= 0:
            os.close(fd)

    def _shutdown(self, how: int) -> None:
        with self._guard:
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
