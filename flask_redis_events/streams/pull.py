"""Streams whose view returns a generator function: it is handed the messages, and pulls them.

The generator runs in a greenlet of its own, because it may wait for a message while the stream has
a heartbeat to send.  It cannot get ahead of what it says: a frame's id is that of the last message
taken before it, so what the generator has only gathered so far is given again to a client that
comes back.  Nor does it run ahead of its client: while the client does not read, messages wait in
the inbox, and a full inbox does what the stream's overflow policy says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any

from .. import concurrency
from ..clients import Subscription
from ..endings import Ending
from ..hub import Hub
from ..wire import Batch, Message, Position
from ..wire.control import Loss
from .callbacks import Runner
from .messages import Messages
from .producer import Producer


class Pull(Producer):
    """A generator function that makes what one client is sent."""

    __slots__ = ("_function", "_messages", "_room", "_size")

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        target: Subscription,
        inbox: Subscription,
        function: Callable[[Messages], Generator[Any, None, None]],
    ) -> None:
        super().__init__(hub, runner, target, inbox)
        self._function = function
        #: Set when the client has room, or is closed; made when the generator waits for that.
        self._room: threading.Event | None = None
        #: How many bytes were made and are to be sent.
        self._size = 0
        # One for all attempts: what it has taken from the inbox is not lost with a generator.
        self._messages = Messages(runner.app, inbox, self._pass_on)

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        super().begin(floor, history)
        concurrency.spawn("pull", self._run)

    def client_closed(self, ending: Ending) -> None:
        super().client_closed(ending)
        self.client_drained()

    def client_drained(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    def closed(self, ending: Ending) -> None:
        # A generator that falls behind ends as a client does: it resumes, and misses nothing.
        self.target.close(ending, last=self.hub.farewell(ending))

    # -- the generator -----------------------------------------------------------------------------

    def _run(self) -> None:
        self._afterwards = []
        try:
            self._call()
        finally:
            self._rest()

    def _call(self) -> None:
        """Call the function, and call it again if it fails."""
        messages = self._messages
        while self.target.closed is None:
            taken = messages.taken
            generator = None
            try:
                generator = self._function(messages)
                self._pump(messages, generator)
            except BaseException as error:
                if concurrency.is_exit(error):
                    # The stream is over, or the generator says so itself.
                    self.fail()
                    return
                self._runner.failed(error)
                if messages.taken == taken:
                    # It fails before it takes anything, and would for ever.
                    self.fail()
            else:
                self._end(messages.position)
            finally:
                if generator is not None:
                    self._put_away(messages, generator)

    def _put_away(self, messages: Messages, generator: Generator[Any, None, None]) -> None:
        """Let the generator clean up; what it raises then ends nothing else."""
        try:
            messages.enter()
            try:
                generator.close()
            finally:
                messages.leave()
        except BaseException as error:
            if concurrency.is_exit(error):
                raise
            self._runner.failed(error)

    def _pump(self, messages: Messages, generator: Generator[Any, None, None]) -> None:
        """Send what the generator yields, until it ends or the stream does."""
        turn = concurrency.Turn()
        try:
            while self.target.closed is None and not self._runner.ended:
                if not messages.waited:
                    turn.maybe_rest()
                messages.waited = False
                messages.enter()
                try:
                    value = next(generator)
                except StopIteration:
                    return
                made = self._outcome(value, messages)
                if made.size:
                    self._made.append(made)
                    self._size += made.size
                messages.answered = messages.taken
                if not concurrency.patched() or self._size >= self._part:
                    self._flush()
                else:
                    # Together with what others make, as one send after the other costs more.
                    self.schedule()
                if self._client_waits:
                    messages.leave()
                    self._wait_for_room()
        finally:
            messages.leave()
            self._flush()

    def _outcome(self, value: Any, messages: Messages) -> Batch:
        last, numbered = messages.last, self.target.numbered
        if last is not None and last.id == messages.position:
            return self._runner.outcome(value, last, numbered=numbered)
        position = messages.position if numbered else None
        frames = self._runner.frames(value, position=position)
        return Batch([Message("", frames)] if frames else ())

    def work(self) -> bool:
        return self._scheduled

    def send(self) -> bool:
        self._scheduled = False
        self._flush()
        return False

    def _flush(self) -> None:
        super()._flush()
        self._size = 0
        if self._messages.settled:
            # Otherwise a heartbeat could move the position past what the generator still gathers.
            self.inbox.commit()

    def _pass_on(self, frame: Batch) -> None:
        """Send what is not for the generator: a `reset`, or the position after the history."""
        if frame.position is None or isinstance(frame, Loss) or self._messages.settled:
            self._made.append(frame)
            self._flush()
        # Else the position is ahead of the generator; a later heartbeat moves the client there.

    def _wait_for_room(self) -> None:
        while self._client_waits:
            room = self._room = threading.Event()
            # Asked again, as the client may have been drained before there was an event to set.
            if self._client_waits:
                room.wait()

    @property
    def _client_waits(self) -> bool:
        return self.target.closed is None and not self.target.has_room
