"""Emitting from one process to one Redis, with few or none listening: how fast, and whose work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask_redis_events import Emitter
from tests.support.processes import ROOT

from . import competitors, machine
from .contestant import BURST, message
from .run import Run

#: A name, what emits, and how many events it emits.
Way = tuple[str, Callable[[Any], Any], int]

EMITS = 4000
#: How many events one call emits where workers listen, and how many workers.
TOGETHER, HEARERS = 10, 4
#: Connections that read what they are sent, as workers do: the port, their number, and channels.
HEARING = """
import selectors, socket, sys
port, number, *channels = sys.argv[1:]
selector = selectors.DefaultSelector()
for _ in range(int(number)):
    hearer = socket.create_connection(("127.0.0.1", int(port)))
    hearer.sendall(("SUBSCRIBE " + " ".join(channels) + "\\r\\n").encode())
    hearer.recv(1000)
    selector.register(hearer, selectors.EVENT_READ)
print(flush=True)
while True:
    for key, _ in selector.select():
        key.fileobj.recv(1 << 20) or sys.exit()
"""


def emitting(run: Run) -> None:
    """Redis has the server's core here."""
    os.sched_setaffinity(run.redis.pid, {machine.SERVER_CORE})
    try:
        for _ in range(run.rounds):
            _round(run)
    finally:
        os.sched_setaffinity(run.redis.pid, {machine.OTHER_CORE})


def _round(run: Run) -> None:
    with_history = Emitter(run.redis.url, prefix="emitting:")
    without = Emitter(run.redis.url, prefix="emitting-none:", history=0)
    client = run.redis.client()
    text = json.dumps(message(0))

    def together(emitter: Emitter, number: int = BURST) -> Callable[[Any], Any]:
        return lambda one: emitter.emit_many([("channel", one)] * number)

    ways: list[Way] = [
        ("emit", lambda one: with_history.emit("channel", one), 1),
        ("emit, HISTORY=0", lambda one: without.emit("channel", one), 1),
        (f"{BURST} together", together(with_history), BURST),
        (f"{BURST} together, HISTORY=0", together(without), BURST),
        ("redis-py publish", lambda _: client.publish("channel", text), 1),
    ]
    _measure(run, ways)
    with _hearers(run):
        heard = f", {HEARERS} workers"
        ways = [
            (f"emit{heard}", ways[0][1], 1),
            (f"{TOGETHER} together{heard}", together(with_history, TOGETHER), TOGETHER),
            (f"redis-py publish{heard}", ways[-1][1], 1),
        ]
        _measure(run, ways)
    with_history.close()
    without.close()
    _flask_sse(run)


@contextmanager
def _hearers(run: Run) -> Iterator[None]:
    """Let some connections hear what is emitted, as that many workers do."""
    words = [str(run.redis.port), str(HEARERS), "emitting:channel", "channel"]
    command = [sys.executable, "-c", HEARING, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as hearers:
        assert hearers.stdout
        hearers.stdout.readline()
        try:
            yield
        finally:
            hearers.terminate()


def _measure(run: Run, ways: list[Way]) -> None:
    for name, emit, each in ways:
        run.tell(f"emitting: {name}")
        for number in range(100):
            emit(message(number))
        cpu, own, started = (
            machine.cpu_seconds(run.redis.pid),
            time.process_time(),
            time.monotonic(),
        )
        for number in range(EMITS // each):
            emit(message(number))
        _add(run, name, EMITS // each * each, started, own, cpu)


def _add(run: Run, name: str, emits: int, started: float, own: float, cpu: float) -> None:
    add = run.results.add
    add(name, "emits per s", 1, emits / (time.monotonic() - started))
    add(name, "CPU per emit, emitter", 1, (time.process_time() - own) / emits)
    add(name, "CPU per emit, Redis", 1, (machine.cpu_seconds(run.redis.pid) - cpu) / emits)


def _flask_sse(run: Run) -> None:
    """Flask-SSE publishes in its own environment, and takes its own time."""
    run.tell("emitting: Flask-SSE")
    command = [str(competitors.environment()), "-m", "tests.benchmarks.apps.with_flask_sse"]
    env = {**os.environ, "BENCH_REDIS_URL": run.redis.url, "PYTHONPATH": str(ROOT)}
    cpu = machine.cpu_seconds(run.redis.pid)
    done = subprocess.run(
        [*command, str(EMITS)], check=True, capture_output=True, text=True, env=env, cwd=ROOT
    )
    cpu = machine.cpu_seconds(run.redis.pid) - cpu
    seconds, own = map(float, done.stdout.split())
    run.results.add("Flask-SSE publish", "emits per s", 1, EMITS / seconds)
    run.results.add("Flask-SSE publish", "CPU per emit, emitter", 1, own / EMITS)
    run.results.add("Flask-SSE publish", "CPU per emit, Redis", 1, cpu / EMITS)
