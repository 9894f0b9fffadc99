"""An emitter for programs that run on asyncio: it is awaited, and holds up nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import gevent.monkey
import pytest

from flask_redis_events import AsyncEmitter, ChannelError, FieldError, ServerSentEvent
from tests.support.servers import RedisServer

pytestmark = pytest.mark.skipif(
    gevent.monkey.is_module_patched("threading"), reason="asyncio runs beside gevent, not in it"
)


def run(program: Coroutine[Any, Any, None]) -> None:
    asyncio.run(program)


def test_it_emits_and_reads(redis_server, prefix):
    """Every method does what the emitter's does."""

    async def program() -> None:
        async with AsyncEmitter(redis_server.url, prefix=prefix) as emitter:
            position = await emitter.position()
            first = await emitter.emit("a", {"n": 1}, event="count")
            html = await emitter.emit_html("a", "<p>", event="card")
            more = await emitter.emit_many([("a", n) for n in range(3)], persist=True)
            kept = await emitter.history("a", after=position)

            assert [event.id for event in kept] == [first, html, *more]
            assert [event.data for event in kept] == [{"n": 1}, "<p>", 0, 1, 2]
            assert await emitter.present("a") == await emitter.clients() == {}
            assert await emitter.workers() == []
            await emitter.disconnect(identity="nobody")
            assert await emitter.request_stop("run")
            assert await emitter.run_status("run") == "pending"
            await emitter.touch("b")
            assert [event.event for event in await emitter.history("b")] == ["refresh"]

    run(program())


def test_awaited_events_keep_their_order(redis_server, prefix):
    """One after the other, or at once: each is published once."""

    async def program() -> None:
        async with AsyncEmitter(redis_server.url, prefix=prefix) as emitter:
            for number in range(50):
                await emitter.emit("a", number)
            await asyncio.gather(*[emitter.emit("b", number) for number in range(200)])
            ordered = await emitter.history("a", limit=1000)
            at_once = await emitter.history("b", limit=1000)

            assert [event.data for event in ordered] == list(range(50))
            assert sorted(event.data for event in at_once) == list(range(200))

    run(program())


def test_the_loop_goes_on_while_redis_is_frozen(own_redis_server: RedisServer):
    """A call waits for Redis; everything else in the program does not."""

    async def program() -> None:
        async with AsyncEmitter(own_redis_server.url) as emitter:
            await emitter.emit("a", "first")
            own_redis_server.pause()
            waiting = [asyncio.create_task(emitter.emit("a", n)) for n in range(100)]
            longest, until = 0.0, time.monotonic() + 1
            while time.monotonic() < until:
                started = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - started)
            assert not any(task.done() for task in waiting)
            own_redis_server.resume()
            await asyncio.gather(*waiting)
            kept = await emitter.history("a", limit=1000)

            assert sorted(event.data for event in kept[1:]) == list(range(100))
            # Far below the ten seconds for which an emit waits.
            assert longest < 0.9

    run(program())


def test_errors_are_raised_where_it_is_awaited(redis_server, prefix):
    """They are those of the emitter."""

    async def program() -> None:
        async with AsyncEmitter(redis_server.url, prefix=prefix) as emitter:
            with pytest.raises(ChannelError):
                await emitter.emit("", 1)
            with pytest.raises(FieldError):
                await emitter.emit("a", ServerSentEvent(1, id="own"))

    run(program())
