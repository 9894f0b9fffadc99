"""The option `reauthorize`: is the client of an open stream still allowed to have it?"""

from __future__ import annotations

from typing import Any

from .. import concurrency, endings
from ..clients import Owner


class Reauthorization(Owner):
    """Asks the application about every heartbeat, and ends the stream if it says no.

    A function that fails, or that has not answered when it is to be asked again, says nothing: then
    the client is asked to come back, so that the view decides.
    """

    __slots__ = ("_asking", "_stream")

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._asking = False

    def tick(self, now: float) -> float | None:
        stream = self._stream
        if stream.client.closed is not None:
            return None
        if self._asking:
            self.fail()
            return None
        self._asking = True
        if concurrency.patched():
            stream.hub.pool.add(self)
        else:
            concurrency.spawn("reauthorize", self._ask)
        return now + float(stream.options.heartbeat)

    def work(self) -> bool:
        """Ask; the pool calls this."""
        self._ask()
        return False

    def _ask(self) -> None:
        function = self._stream.options.reauthorize
        allowed = self._stream.runner.ask(function)
        self._asking = False
        if allowed is None:
            self.fail()
        elif not allowed:
            self._stream.dismiss(endings.DISCONNECTED)

    def send(self) -> bool:
        """There is nothing to send."""
        return False

    def fail(self) -> None:
        """Let the view decide."""
        self._stream.dismiss(endings.ASKED_AGAIN)
