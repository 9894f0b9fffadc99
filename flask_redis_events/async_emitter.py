"""Emit from programs that run on asyncio, such as FastAPI, without holding up their loop.

The calls run in threads of their own, by the same code as everywhere else, so that they promise the
same: an event is published once, whatever happens to the connection.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack

from .asking import HistoricEvent
from .emitter import Emitter
from .outgoing import EmitOptions, EventOptions
from .runs import MAX_BYTES, AsyncRun

P = ParamSpec("P")
T = TypeVar("T")

#: The most calls at once; further ones wait their turn, in order, and the loop goes on meanwhile.
THREADS = 16


class AsyncEmitter:
    """An `Emitter` whose methods are awaited; the arguments are the same.

    Use it as an asynchronous context manager, or await `close()`.  A call that is cancelled may
    still be carried out.
    """

    def __init__(self, url: str = "redis://localhost:6379/0", **arguments: Any) -> None:
        self._emitter = Emitter(url, **arguments)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="redis-events")

    async def emit(
        self, channel: str, data: Any, *, event: str | None = None, **options: Unpack[EmitOptions]
    ) -> str | None:
        """Send `data` to every browser on `channel`; see `Emitter.emit`."""
        return await self._run(self._emitter.emit, channel, data, event=event, **options)

    async def emit_html(
        self, channel: str, html: Any, event: str | None = None, **options: Unpack[EmitOptions]
    ) -> str | None:
        """Send HTML as it is; see `Emitter.emit_html`."""
        return await self._run(self._emitter.emit_html, channel, html, event, **options)

    async def emit_many(
        self,
        events: Iterable[tuple[str, Any] | tuple[str, Any, EventOptions]],
        *,
        persist: bool = True,
    ) -> list[str | None]:
        """Send many (channel, data) pairs in order; see `Emitter.emit_many`."""
        return await self._run(self._emitter.emit_many, list(events), persist=persist)

    async def remove(
        self, channel: str, key: str, data: Any = None, *, event: str | None = None
    ) -> str | None:
        """Remove a key that `keep="latest"` has kept; see `Emitter.remove`."""
        return await self._run(self._emitter.remove, channel, key, data, event=event)

    async def touch(self, channel: str) -> None:
        """Let the pages on a channel load what they show; see `Emitter.touch`."""
        await self._run(self._emitter.touch, channel)

    async def history(
        self, channel: str, *, after: str | None = None, limit: int = 100
    ) -> list[HistoricEvent]:
        """Return what is kept of a channel; see `Emitter.history`."""
        return await self._run(self._emitter.history, channel, after=after, limit=limit)

    async def position(self) -> str | None:
        """Return "now" as an id; see `Emitter.position`."""
        return await self._run(self._emitter.position)

    async def present(self, channel: str) -> dict[str, int]:
        """Return who is on a channel; see `Emitter.present`."""
        return await self._run(self._emitter.present, channel)

    async def clients(self) -> dict[str, int]:
        """Return all identities that have streams; see `Emitter.clients`."""
        return await self._run(self._emitter.clients)

    async def workers(self) -> list[dict[str, Any]]:
        """Return what each worker says of itself; see `Emitter.workers`."""
        return await self._run(self._emitter.workers)

    async def disconnect(
        self, *, identity: str | None = None, channel: str | None = None, for_good: bool = True
    ) -> None:
        """End the streams of an identity, or on a channel; see `Emitter.disconnect`."""
        call = self._emitter.disconnect
        await self._run(call, identity=identity, channel=channel, for_good=for_good)

    def run(
        self, channel: str, *, ttl: float = 3600.0, lease: float = 30.0, max_bytes: int = MAX_BYTES
    ) -> AsyncRun:
        """Produce a run: `async with emitter.run("answer:42") as run: await run.send("text")`."""
        run = self._emitter.run(channel, ttl=ttl, lease=lease, max_bytes=max_bytes)
        return AsyncRun(run, self._run)

    async def request_stop(self, channel: str) -> bool:
        """Ask the run on a channel to stop; see `Emitter.request_stop`."""
        return await self._run(self._emitter.request_stop, channel)

    async def run_status(self, channel: str) -> str:
        """Return what has become of a run; see `Emitter.run_status`."""
        return await self._run(self._emitter.run_status, channel)

    async def close(self) -> None:
        """Wait for the calls under way, and close the connections; the emitter is over."""
        await asyncio.to_thread(self._threads.shutdown)
        self._emitter.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
