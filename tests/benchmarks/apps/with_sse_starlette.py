"""sse-starlette with one reader of Redis for all clients, as a careful user would write it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import redis.asyncio
from sse_starlette import EventSourceResponse  # type: ignore[import-not-found, unused-ignore]
from starlette.applications import Starlette  # type: ignore[import-not-found, unused-ignore]
from starlette.responses import PlainTextResponse  # type: ignore[import-not-found, unused-ignore]
from starlette.routing import Route  # type: ignore[import-not-found, unused-ignore]

PREFIX = os.environ["BENCH_PREFIX"]

listening: defaultdict[bytes, set[asyncio.Queue[str]]] = defaultdict(set)


async def read() -> None:
    """Read all channels on one connection, and put what comes to those who listen."""
    client = redis.asyncio.from_url(os.environ["BENCH_REDIS_URL"])
    pubsub = client.pubsub()
    await pubsub.psubscribe(f"{PREFIX}*")
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


def pass_on(text: str) -> str:
    return text


def decide(text: str) -> str:
    """Decode a message, decide about it, and encode it again; "" is not sent."""
    message = json.loads(text)
    return json.dumps(message) if message["n"] >= 0 else ""


def streaming(answer: Callable[[str], str]) -> Callable[[Any], Any]:
    """Return the view whose streams send what `answer` makes of each message."""

    async def stream(request: Any) -> Any:
        channel = f"{PREFIX}{request.path_params['name']}".encode()

        async def frames() -> AsyncIterator[dict[str, str]]:
            queue: asyncio.Queue[str] = asyncio.Queue()
            listening[channel].add(queue)
            try:
                while True:
                    if text := answer(await queue.get()):
                        yield {"data": text}
            finally:
                listening[channel].discard(queue)

        return EventSourceResponse(frames())

    return stream


async def index(request: Any) -> Any:
    return PlainTextResponse("here")


app = Starlette(
    routes=[
        Route("/stream/{name}", streaming(pass_on)),
        Route("/filter/{name}", streaming(decide)),
        Route("/", index),
    ],
    lifespan=lifespan,
)
