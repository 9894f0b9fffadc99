"""Vercel's AI SDK reads runs: its own transport, and its own reader of messages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_redis_events import Emitter
from tests.e2e.conftest import App, starting
from tests.support.servers import RedisServer

pytestmark = pytest.mark.timeout(180)
ANSWER = "Where the river begins, nobody knows."


@pytest.fixture
def app(own_redis_server: RedisServer) -> Iterator[App]:
    with starting(own_redis_server, "ai:") as start:
        yield start(app="tests.support.apps.runs:create_app()")


@pytest.fixture
def emitter(app: App, own_redis_server: RedisServer) -> Iterator[Emitter]:
    emitter = Emitter(own_redis_server.url, prefix=app.prefix)
    yield emitter
    emitter.close()


@pytest.fixture
def read(app: App, modules: Path) -> Callable[[], Callable[[], Any]]:
    """Return a function that lets the SDK join the chat, and returns one for what it has read."""

    def read() -> Callable[[], Any]:
        command = ["node", "ai_sdk.mjs", f"{app.url}/ai", "1"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=modules, text=True, **pipes)  # type: ignore[call-overload]
        said = process.stderr.readline()

        def result() -> Any:
            out, error = process.communicate(timeout=30)
            assert process.returncode == 0, said + error
            return json.loads(out)

        return result

    return read


def text(result: Any) -> str:
    return "".join(part["text"] for part in result["message"]["parts"] if part["type"] == "text")


def begin(run: Any) -> Iterator[None]:
    """Send an answer in the SDK's parts; yield after each word."""
    run.send({"type": "start", "messageId": "m1"})
    run.send({"type": "text-start", "id": "t1"})
    for word in ANSWER.split(" "):
        run.send({"type": "text-delta", "id": "t1", "delta": f"{word} "})
        yield
    run.send({"type": "text-end", "id": "t1"})
    run.send({"type": "finish"})


def test_there_is_nothing_to_join(read):
    """Without a run, the SDK is told so by 204."""
    assert read()() == {"active": False, "message": None, "errors": []}


def test_a_run_is_joined_in_its_midst(emitter, read):
    """The SDK has the whole message, and knows the end."""
    with emitter.run("answer:1") as run:
        words = begin(run)
        for _ in range(3):
            next(words)
        result = read()
        for _ in words:
            pass
    got = result()

    assert (text(got), got["errors"]) == (f"{ANSWER} ", [])
    assert read()()["active"] is False


def test_a_failure_is_told(emitter, read):
    """What there was of the message, and an error."""
    with pytest.raises(ZeroDivisionError), emitter.run("answer:1") as run:
        next(begin(run))
        result = read()
        raise ZeroDivisionError
    got = result()

    assert (text(got), got["errors"]) == ("Where ", ["The answer failed."])
