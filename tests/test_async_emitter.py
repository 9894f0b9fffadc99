"""An emitter for programs that run on asyncio: it is awaited, and holds up nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import gevent.monkey
import pytest

from flask_redis_events import (
    AsyncEmitter,
    ChannelError,
    FieldError,
    RunActive,
    ServerSentEvent,
    SetupError,
)
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
            await emitter.emit("state", 1, key="p", keep="latest")
            assert await emitter.remove("state", "p") is not None
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


NAME = "answer:1"


async def log(emitter: AsyncEmitter) -> list[Any]:
    """Return what is kept of the run's channel, with neighbouring texts joined."""
    data = [event.data for event in await emitter.history(NAME, limit=1000)]
    return ["".join(one for one in data if isinstance(one, str)), *data[-1:]]


def test_a_run_is_produced(redis_server, prefix):
    """What is sent is in the log in the order of the calls, also of those at the same time."""

    async def program() -> None:
        async with AsyncEmitter(redis_server.url, prefix=prefix) as emitter:
            async with emitter.run(NAME, ttl=60) as run:
                assert await emitter.run_status(NAME) == "running"
                for number in range(50):
                    await run.send(f"{number} ")
                    await asyncio.sleep(0.002)
                await asyncio.gather(*[run.send(f"{number} ") for number in range(50, 300)])
                with pytest.raises(FieldError):
                    await run.send(float("nan"))
                with pytest.raises(RunActive):
                    async with emitter.run(NAME):
                        raise AssertionError("There is one producer.")
            expected = "".join(f"{number} " for number in range(300))

            assert await log(emitter) == [expected, {"state": "finished"}]
            with pytest.raises(SetupError):
                await run.send("late")

    run(program())


def test_a_run_is_stopped(redis_server, prefix):
    """The producer sees it within a second, while others of the loop go on."""

    async def program() -> None:
        async with AsyncEmitter(redis_server.url, prefix=prefix) as emitter:
            async with emitter.run(NAME) as run:
                await emitter.request_stop(NAME)
                async with asyncio.timeout(3):
                    while not run.stop_requested:
                        await run.send("x")
                        await asyncio.sleep(0.01)

            assert await emitter.run_status(NAME) == "stopped"

    run(program())


@pytest.mark.parametrize("how", ["raises", "is cancelled"])
def test_a_run_that_fails(redis_server, prefix, how: str):
    """What was sent before is kept, and the exception goes on."""

    async def produce(emitter: AsyncEmitter) -> None:
        async with emitter.run(NAME) as run:
            await run.send("text")
            if how == "raises":
                raise RuntimeError("On purpose.")
            await asyncio.sleep(60)

    async def program() -> None:
        async with AsyncEmitter(redis_server.url, prefix=prefix) as emitter:
            task = asyncio.create_task(produce(emitter))
            if how == "is cancelled":
                await asyncio.sleep(0.3)
                task.cancel()
            with pytest.raises((RuntimeError, asyncio.CancelledError)):
                await task

            assert await log(emitter) == ["text", {"state": "failed"}]

    run(program())


def test_a_run_that_is_cancelled_while_it_begins_is_not_kept(own_redis_server: RedisServer):
    """It ends as soon as Redis has begun it, so that another producer may have the channel."""

    async def produce(emitter: AsyncEmitter) -> None:
        async with emitter.run(NAME):
            raise AssertionError("It was cancelled before.")

    async def program() -> None:
        async with AsyncEmitter(own_redis_server.url) as emitter:
            await emitter.emit("a", 1)
            own_redis_server.pause()
            task = asyncio.create_task(produce(emitter))
            await asyncio.sleep(0.2)
            task.cancel()
            await asyncio.sleep(0.2)
            own_redis_server.resume()
            with pytest.raises(asyncio.CancelledError):
                await task

            assert await emitter.run_status(NAME) == "failed"
            async with emitter.run(NAME):
                pass

    run(program())


def test_the_loop_goes_on_while_a_run_waits_for_redis(own_redis_server: RedisServer):
    """Sending waits for nobody, and all of it is written when Redis is back."""

    async def program() -> None:
        async with AsyncEmitter(own_redis_server.url) as emitter, emitter.run(NAME) as run:
            await run.send("0 ")
            own_redis_server.pause()
            longest = 0.0
            for number in range(1, 100):
                started = time.monotonic()
                task = asyncio.create_task(run.send(f"{number} "))
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - started)
            own_redis_server.resume()
            await task
            assert longest < 0.9
            await run.__aexit__(None, None, None)

            expected = "".join(f"{number} " for number in range(100))
            assert await log(emitter) == [expected, {"state": "finished"}]

    run(program())
