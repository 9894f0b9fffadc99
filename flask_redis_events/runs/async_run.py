"""The producing side of a run in a program on asyncio, whose loop it does not hold up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from ..exceptions import RedisEventsError
from .run import Run


class AsyncRun:
    """A run that this process produces; an asynchronous context manager.

    It ends as `finished`, as `stopped` if `stop_requested` was seen, or as `failed` if the block
    raises or is cancelled.
    """

    def __init__(self, run: Run, call: Callable[..., Awaitable[Any]]) -> None:
        self._run = run
        #: Calls a function in a thread.
        self._call = call

    async def __aenter__(self) -> Self:
        entering = asyncio.ensure_future(self._call(self._run.__enter__))
        try:
            await asyncio.shield(entering)
        except asyncio.CancelledError as error:
            # The run may begin nevertheless, and its thread would keep it for ever.
            with contextlib.suppress(RedisEventsError):
                await entering
                await self.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._call(self._run.__exit__, kind, error, trace)

    async def send(self, data: Any, *, event: str | None = None) -> None:
        """Add to the run's log; see `Run.send`.

        Texts of calls that run at the same time are in the order of the calls.
        """
        if self._run.take(data, event=event):
            await self._call(self._run.hurry)

    @property
    def stop_requested(self) -> bool:
        """Whether the run should end: somebody wants it to stop, or it cannot go on."""
        return self._run.stop_requested
