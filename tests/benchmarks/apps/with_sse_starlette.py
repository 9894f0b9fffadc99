"""sse-starlette with one reader of Redis for all clients, as a careful user would write it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import redis.asyncio
from sse_starlette import EventSourceResponse  # type: ignore[import-not-found, unused-ignore]
from starlette.applications import Starlette  # type: ignore[import-not-found, unused-ignore]
from starlette.responses import PlainTextResponse  # type: ignore[import-not-found, unused-ignore]
from starlette.routing import Route  # type: ignore[import-not-found, unused-ignore]

listening: defaultdict[bytes, set[asyncio.Queue[str]]] = defaultdict(set)


async def read() -> None:
    """Read all channels on one connection, and put each message into its clients' queues."""
    client = redis.asyncio.from_url(os.environ["BENCH_REDIS_URL"])
    pubsub = client.pubsub()
    await pubsub.psubscribe("starlette:*")
    async for message in pubsub.listen():
        if message["type"] == "pmessage":
            text = message["data"].decode()
            for queue in listening[message["channel"]]:
                queue.put_nowait(text)


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    reader = asyncio.create_task(read())
    yield
    reader.cancel()


async def stream(request: Any) -> Any:
    channel = b"starlette:" + request.path_params["name"].encode()

    async def frames() -> AsyncIterator[dict[str, str]]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        listening[channel].add(queue)
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            listening[channel].discard(queue)

    return EventSourceResponse(frames())


async def index(request: Any) -> Any:
    return PlainTextResponse("here")


app = Starlette(
    routes=[Route("/stream/{name}", stream), Route("/", index)],
    lifespan=lifespan,
)
