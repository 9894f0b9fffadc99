"""Streams whose view returns a generator function: it is handed the messages, and pulls them.

The generator runs in a greenlet of its own, because it may wait for a message while the stream has
a heartbeat to send.  It cannot get ahead of what it says: a frame's id is that of the last message
taken before it, so what the generator has only gathered so far is given again to a client that
comes back.  Nor does it run ahead of its client: while the client does not read, messages wait in
the inbox, and a full inbox does what the stream's overflow policy says.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from flask import Flask
from flask.ctx import AppContext

from .. import concurrency, endings
from ..clients import Subscription
from ..concurrency import Deadline
from ..endings import Ending
from ..exceptions import SubscriptionClosed
from ..hub import Hub
from ..wire import Batch, Message, Position, control
from .callbacks import Runner
from .source import PART, Source


class Messages:
    """What a generator function is handed: its stream's messages, to wait for and to iterate over.

    Once the stream is over, waiting raises `GeneratorExit`, as closing the generator would.
    """

    def __init__(self, app: Flask, inbox: Subscription, pass_on: Callable[[Batch], object]) -> None:
        #: The channel of the last message.
        self.channel: str | None = None
        #: The SSE event name that the last message was emitted with.
        self.event: str | None = None
        #: The id of the last message.
        self.position: Position | None = None
        #: How many messages were handed out.
        self.taken = 0
        self._app = app
        self._inbox = inbox
        #: Takes what is not for the generator: the `reset` that tells of what is missing.
        self._pass_on = pass_on
        self._ready: deque[Message] = deque()
        self._context: AppContext | None = None

    @property
    def waiting(self) -> bool:
        """Whether more has come than was handed out."""
        return bool(self._ready)

    def get(self, timeout: float | None = None) -> Any:
        """Return the next message's value; None when `timeout` seconds pass."""
        message = self._next(timeout)
        return None if message is None else message.value

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        message = self._next(None)
        assert message is not None
        return message.value

    def enter(self) -> None:
        """Begin a short app context, for the application's code until it waits again."""
        if self._context is None:
            self._context = self._app.app_context()
            self._context.push()

    def leave(self) -> None:
        """End it, if there is one."""
        context, self._context = self._context, None
        if context is not None:
            context.pop()

    def _next(self, timeout: float | None) -> Message | None:
        deadline = Deadline(timeout)
        if not self._ready:
            self.leave()
            try:
                self._wait(deadline)
            except SubscriptionClosed as closed:
                raise GeneratorExit from closed
            finally:
                self.enter()
        if not self._ready:
            return None
        message = self._ready.popleft()
        self.taken += 1
        self.channel, self.event = message.channel, message.event
        self.position = message.id or self.position
        return message

    def _wait(self, deadline: Deadline) -> None:
        while not self._ready:
            for batch in self._inbox.take(deadline.left):
                self._ready.extend(batch.messages)
                if not batch.messages:
                    self._pass_on(batch)
            if deadline.passed:
                return


class Pull(Source):
    """A generator function that makes what one client is sent."""

    __slots__ = ("_caught_up", "_function", "_made", "_room", "_runner", "_scheduled", "_size")

    def __init__(
        self,
        hub: Hub,
        runner: Runner,
        function: Callable[[Messages], Generator[Any, None, None]],
        *,
        client: Subscription,
        inbox: Subscription,
    ) -> None:
        super().__init__(hub, client, inbox)
        inbox.owner = self
        self._runner = runner
        self._function = function
        #: Set when the client has room, or is closed; made when the generator waits for that.
        self._room: threading.Event | None = None
        #: What was made and is to be sent, and how many bytes that is.
        self._made: list[Message] = []
        self._size = 0
        #: Whether the generator has had all that came.
        self._caught_up = False
        #: Whether the pool will send it.
        self._scheduled = False

    # -- what a stream asks of its source ----------------------------------------------------------

    def open(self) -> None:
        # Until the stream has begun, its own thread waits for what happens to the inbox.
        self.inbox.wake = self.client.notify
        super().open()

    def begin(self, floor: Position | None, history: Iterable[Batch]) -> None:
        self.inbox.start(floor, history)
        concurrency.spawn("pull", self._run)

    def client_closed(self, ending: Ending) -> None:
        self.inbox.close(ending)
        self.client_drained()

    def client_drained(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.set()

    # -- what the inbox tells its owner ------------------------------------------------------------

    def closed(self, ending: Ending) -> None:
        # A generator that falls behind ends as a client does: it resumes, and misses nothing.
        self.client.close(ending, last=self.hub.farewell(ending))

    def dropped(self, count: int) -> None:
        self.hub.reports.dropped(count)

    # -- the generator -----------------------------------------------------------------------------

    def _run(self) -> None:
        # One for all attempts: what it has taken from the inbox is not lost with a generator.
        messages = Messages(self._runner.app, self.inbox, self._pass_on)
        while self.client.closed is None:
            taken = messages.taken
            generator = None
            try:
                generator = self._function(messages)
                self._pump(messages, generator)
            except GeneratorExit:
                return
            except BaseException as error:
                if concurrency.is_exit(error):
                    raise
                self._runner.failed(error)
                if messages.taken == taken:
                    # It fails before it takes anything, and would for ever.
                    self.client.close(endings.FAILED, last=self.hub.farewell(endings.FAILED))
            else:
                last = control.end(messages.position if self.client.numbered else None)
                self.client.close(endings.ENDED, last=last)
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
        try:
            while self.client.closed is None and not self._runner.ended:
                messages.enter()
                try:
                    value = next(generator)
                except StopIteration:
                    return
                position = messages.position if self.client.numbered else None
                frames = self._runner.frames(value, position=position)
                if frames:
                    self._made.append(Message("", frames))
                    self._size += len(frames)
                # Otherwise a heartbeat could move the position past what the generator has not had.
                self._caught_up = not messages.waiting
                self._schedule()
                if self._client_waits:
                    messages.leave()
                    self._wait_for_room()
        finally:
            messages.leave()
            self._flush()

    def _schedule(self) -> None:
        """Send soon, together with what others make, as one send after the other costs more."""
        if not concurrency.patched() or self._size >= PART:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self.hub.pool.add(self)

    def work(self) -> bool:
        return True

    def send(self) -> bool:
        self._scheduled = False
        self._flush()
        return False

    def _flush(self) -> None:
        """Send what was made so far."""
        made, self._made, self._size = self._made, [], 0
        if made:
            self.client.offer(Batch(made))
        if self._caught_up:
            self.inbox.commit()

    def _pass_on(self, frame: Batch) -> None:
        """Send what is not for the generator: a `reset`."""
        self._flush()
        self.client.offer(frame)

    def _wait_for_room(self) -> None:
        while self._client_waits:
            room = self._room = threading.Event()
            # Asked again, as the client may have been drained before there was an event to set.
            if self._client_waits:
                room.wait()

    @property
    def _client_waits(self) -> bool:
        return self.client.closed is None and not self.client.has_room
