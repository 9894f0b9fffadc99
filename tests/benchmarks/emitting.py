"""Emitting from one process to one Redis, with nobody listening: how fast, and whose work."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from typing import Any

from flask_redis_events import Emitter
from tests.support.processes import ROOT

from . import competitors, machine
from .contestant import BURST, message
from .run import Run

EMITS = 4000


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

    def together(emitter: Emitter) -> Callable[[Any], Any]:
        return lambda one: emitter.emit_many([("channel", one)] * BURST)

    ways: list[tuple[str, Callable[[Any], Any], int]] = [
        ("emit", lambda one: with_history.emit("channel", one), 1),
        ("emit, HISTORY=0", lambda one: without.emit("channel", one), 1),
        (f"{BURST} together", together(with_history), BURST),
        (f"{BURST} together, HISTORY=0", together(without), BURST),
        ("redis-py publish", lambda _: client.publish("channel", text), 1),
    ]
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
    with_history.close()
    without.close()
    _flask_sse(run)


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
