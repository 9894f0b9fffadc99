"""A client's connection, by its descriptor: notice when the client leaves, and end it.

A WSGI application does not own the connection, and is not told when the client closes it.  Servers
put the socket into the environ, so this module can watch it and shut it down beside the server.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from .. import concurrency

#: The most bytes that a client may send into its stream.  They are discarded, and a client that
#: sends more is treated as gone.
JUNK = 64 * 1024


class ClientSocket:
    """A client's TCP or Unix connection, by its descriptor.

    `watch` reports at once when the client leaves; `look` polls for that.  `cut` ends the
    connection even if a writer is blocked in it.  `finish` makes the server close the connection
    after the response.

    The descriptor belongs to the server, which closes it after the response's own `close`, and so
    after `release`.  After `keep`, this object owns it.  Over TLS the bytes on the socket are
    encrypted, so this class neither reads nor writes them.
    """

    __slots__ = ("_guard", "_junk", "_kept", "_plain", "_readable", "_writable", "fd")

    def __init__(self, fd: int, *, plain: bool = True) -> None:
        self.fd = fd
        self._plain = plain
        # Guards the descriptor.  While one thread uses its number, the server may close it in
        # another thread, and the system may give the number to the next client.  Greenlets need
        # no lock, because none of the guarded code lets another greenlet run.
        self._guard = concurrency.guard()
        self._kept = False
        self._readable: Any = None
        self._writable: Any = None
        self._junk = 0

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> ClientSocket | None:
        """Return the connection of a request; None if the server does not give access to it."""
        names = ("gunicorn.socket", "gunicorn.sock", "werkzeug.socket")
        sock = next((environ[name] for name in names if name in environ), None)
        # An HTTP/2 connection carries other requests beside this stream.
        http1 = str(environ.get("SERVER_PROTOCOL", "")).startswith("HTTP/1")
        if not isinstance(sock, socket.socket) or not http1:
            return None
        return cls(sock.fileno(), plain=not hasattr(sock, "cipher"))

    def keep(self, server_socket: socket.socket) -> bool:
        """Take the descriptor away from the server's socket object, which then closes nothing.

        False over TLS, whose bytes only that object can write.
        """
        if not self._plain or server_socket.fileno() != self.fd:
            return False
        server_socket.detach()
        self._kept = True
        return True

    def watch(self, gone: Callable[[], None]) -> bool:
        """Call `gone` once the client closes the connection; False over TLS or without gevent."""
        if not self._plain or not concurrency.patched():
            return False
        _stop(self._readable)
        self._readable = concurrency.watcher(self.fd, write=False)
        self._readable.start(self._read, gone)
        return True

    def look(self, gone: Callable[[], None]) -> None:
        """Poll the connection, where `watch` cannot; call `gone` if the client has closed it."""
        if not self._plain or concurrency.patched():
            return
        with self._guard:
            left = self.fd >= 0 and self._has_left()
        if left:
            gone()

    def _has_left(self) -> bool:
        """Discard what the client has sent; say whether the connection has ended behind it."""
        # The object only borrows the descriptor; `detach` gives it back without closing it.
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
        """Call `write` whenever the socket accepts bytes again, until `write` returns False."""
        if self._writable is None:
            self._writable = concurrency.watcher(self.fd, write=True)
            self._writable.start(self._write, write)

    def _read(self, gone: Callable[[], None]) -> None:
        # Bytes from the client are discarded; unread, they would hide the end that follows them.
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
        """End the connection in both directions now; bytes not yet sent are lost."""
        self._shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Shut the reading side only: the server finds no further request there, and closes."""
        self._shutdown(socket.SHUT_RD)

    def release(self) -> None:
        """Stop watching; close the descriptor if it was kept; idempotent."""
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
    """Stop and close a watcher, if there is one; return None to assign in its place."""
    if watcher is not None:
        watcher.stop()
        watcher.close()
    return None
