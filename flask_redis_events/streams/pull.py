"""Streams whose view returns a generator function: it is handed the messages, and pulls them.

The generator runs in a greenlet of its own, as it may wait for a message while the stream has a
heartbeat to send.  It cannot get ahead of what it says: a frame's id is that of the last message
taken before it, so what it has only gathered so far is given again to a client that comes back.
Nor does it run ahead of its client: while that does not read, what comes waits in the inbox, and a
full inbox does what the stream's overflow policy says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any

from flask import Flask
from flask.ctx import AppContext

from .. import concurrency
from ..clients.subscription import Subscription
from ..concurrency import Deadline
from ..exceptions import SubscriptionClosed
from ..options import Options
from ..wire.message import Batch, Message, Position
from .callbacks import Runner
from .channel_stream import ChannelStream


class Messages:
    """What a generator function is handed: its stream's messages, to wait for and to iterate over.

    Where the stream is over, waiting raises `GeneratorExit`, as closing the generator would.
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
        self._context = self._app.app_context()
        self._context.push()

    def leave(self) -> None:
        """End it."""
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


class PullStream(ChannelStream):
    """A stream that a generator function fills."""

    def __init__(
        self,
        runner: Runner,
        mailbox: Subscription,
        options: Options,
        environ: dict[str, Any],
        *,
        inbox: Subscription,
        function: Callable[[Messages], Generator[Any, None, None]],
    ) -> None:
        super().__init__(runner, mailbox, options, environ)
        self.inbox = inbox
        self._function = function

    def _live(self) -> Iterator[bytes]:
        yield from self._begin()
        concurrency.spawn("pull", self._pump)
        yield from self._forward()

    def _listen(self) -> None:
        self.inbox.on_drop = self.hub.report_dropped
        # A generator that falls behind ends as a client does: it resumes, and misses nothing.
        self.inbox.on_close = self._fell_behind
        super()._listen()

    def _fell_behind(self, reason: str) -> None:
        self.mailbox.close(reason, last=self.hub.farewell(reason))

    def _leave(self) -> None:
        self.hub.leave(self.inbox)
        self.hub.leave(self.mailbox)

    def _closed(self, reason: str) -> None:
        super()._closed(reason)
        self.inbox.close(reason)

    def _pump(self) -> None:
        # One for all attempts: what it has taken from the inbox is not lost with a generator.
        messages = Messages(self.runner.app, self.inbox, self.mailbox.offer)
        while self.mailbox.closed is None:
            taken = messages.taken
            generator = None
            try:
                generator = self._function(messages)
                self._drain(messages, generator)
            except GeneratorExit:
                return
            except BaseException as error:
                if concurrency.ends_us(error):
                    raise
                self.runner.failed(error)
                if messages.taken == taken:
                    # It fails before it takes anything, and would for ever.
                    self.mailbox.close("failed", last=self.hub.farewell("failed"))
            else:
                self._end(messages.position if self.mailbox.numbered else None)
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
            if concurrency.ends_us(error):
                raise
            self.runner.failed(error)

    def _drain(self, messages: Messages, generator: Generator[Any, None, None]) -> None:
        """Send what the generator yields, until it ends or the stream does."""
        while self.mailbox.closed is None and not self.runner.ended:
            messages.enter()
            try:
                value = next(generator)
            except StopIteration:
                return
            finally:
                messages.leave()
            position = messages.position if self.mailbox.numbered else None
            frames = self.runner.frames(value, position=position)
            if frames:
                self.mailbox.offer(Batch([Message("", frames)]))
            if not messages.waiting:
                # Otherwise a heartbeat could move the position past what the generator has not had.
                self.inbox.commit()
            self.mailbox.wait_for_room()
