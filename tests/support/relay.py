"""A relay in front of Redis, which loses answers or leads to another Redis after a failover."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support.processes import free_port


class Relay:
    """Passes connections on; a context manager."""

    def __init__(self, port: int) -> None:
        self._to = port
        #: The connections of both sides.
        self._passing: list[socket.socket] = []
        self.port = free_port()
        #: How many answers to lose, each with its connection, from now on.
        self.losing = 0
        #: Called before each of them is lost.
        self.meanwhile: Callable[[], object] = lambda: None
        #: Makes of what Redis sends what its client receives.
        self.rewrite: Callable[[bytes], bytes] = lambda data: data
        self._listener = socket.create_server(("127.0.0.1", self.port))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _end(self._listener)
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        passing, self._passing = self._passing, []
        for one in passing:
            _end(one)

    def lead_to(self, port: int) -> None:
        """End all connections, and lead new ones to another port."""
        self.lead_new_ones_to(port)
        self.cut()

    def lead_new_ones_to(self, port: int) -> None:
        """Lead new connections to another port; the others stay with a server that was cut off."""
        self._to = port

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            self._passing += [client, server]
            for source, target, loses in ((client, server, False), (server, client, True)):
                arguments = (source, target, loses)
                threading.Thread(target=self._pass, args=arguments, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, loses: bool) -> None:
        try:
            while data := source.recv(65536):
                if loses and self.losing:
                    self.losing -= 1
                    self.meanwhile()
                    break
                target.sendall(self.rewrite(data) if loses else data)
        except OSError:
            pass
        _end(source)
        _end(target)


def _end(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    one.close()
