"""What a generator function is handed: its stream's messages, to wait for and to iterate over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from flask.ctx import AppContext

from ..clients import Subscription
from ..concurrency import Deadline
from ..exceptions import SubscriptionClosed
from ..wire import Batch, Message, Position


class Messages:
    """A stream's messages.

    Once the stream is over, waiting raises `GeneratorExit`, as closing the generator would.
    """

    def __init__(self, app: Flask, inbox: Subscription, pass_on: Callable[[Batch], object]) -> None:
        #: The id of the last message that has one.
        self.position: Position | None = None
        #: The last message.
        self.last: Message | None = None
        #: How many messages were handed out, and how many of them when the generator last yielded.
        self.taken = 0
        self.answered = 0
        self._app = app
        self._inbox = inbox
        #: Takes what is not for the generator: the `reset` that tells of what is missing.
        self._pass_on = pass_on
        self._ready: deque[Message] = deque()
        self._context: AppContext | None = None
        #: Whether others have run since this was last set to False, as there was no message.
        self.waited = False

    @property
    def channel(self) -> str | None:
        """The channel of the last message."""
        return None if self.last is None else self.last.channel

    @property
    def event(self) -> str | None:
        """The SSE event name that the last message was emitted with."""
        return None if self.last is None else self.last.event

    @property
    def settled(self) -> bool:
        """Whether the generator has had all that was taken, and has yielded since."""
        return not self._ready and self.taken == self.answered

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
        if not self._ready:
            self.leave()
            try:
                self._wait(None if timeout is None else Deadline(timeout))
            except SubscriptionClosed as closed:
                raise GeneratorExit from closed
            finally:
                self.enter()
        if not self._ready:
            return None
        message = self._ready.popleft()
        self.taken += 1
        self.last = message
        self.position = message.id or self.position
        return message

    def _wait(self, deadline: Deadline | None) -> None:
        while not self._ready:
            self.waited = self.waited or not self._inbox.has_news
            batches = self._inbox.take(None if deadline is None else deadline.left)
            # First the messages: what is passed on commits what the generator has had.
            self._ready.extend([message for batch in batches for message in batch.messages])
            for batch in batches:
                if not batch.messages:
                    self._pass_on(batch)
            if deadline is not None and deadline.passed:
                return
