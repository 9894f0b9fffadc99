"""Emitters: threads that emit and keep records of it, in this process or in another one.

`python -m tests.audit.emitting '{…}'` emits until SIGTERM, and then writes its records.
"""

from __future__ import annotations

import faulthandler
import http.client
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from redis.sentinel import Sentinel

from flask_redis_events import BrokerError, Emitter
from tests.support.processes import Process

from .ledger import Name, Record, data

PREFIX = "audit:"
#: Seconds for which the application's generator gathers.  They exceed a heartbeat, so the audit
#: shows whether a heartbeat moves a client's cursor past messages that the generator still holds.
GATHER = 6.0

Message = tuple[str, dict[str, Any]]
#: A function that sends messages and returns their ids; if it raises, all of them have failed.
Send = Callable[[Sequence[Message]], Sequence[str | None]]
FAILURES = (BrokerError, OSError, http.client.HTTPException, ValueError)


@dataclass
class Style:
    """The settings of one emitter; `rate` is in emits a second."""

    name: str
    channels: list[str]
    rate: float
    seed: int


class Emitting:
    """A thread that emits on random channels: often on a few of them, seldom on most."""

    def __init__(
        self, style: Style, send: Send, transient: Callable[[str], Any] | None = None
    ) -> None:
        self.records: list[Record] = []
        self._style = style
        self._send = send
        self._transient = transient
        self._chance = random.Random(style.seed)
        self._weights = [1 / (rank + 1) ** 2 for rank in range(len(style.channels))]
        self._over = threading.Event()
        self._awake = threading.Event()
        self._awake.set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._awake.set()
        if self._thread.ident is not None:
            self._thread.join(40)

    def pause(self) -> None:
        self._awake.clear()

    def resume(self) -> None:
        self._awake.set()

    def emit(self, channels: Iterable[str], size: int = 0) -> None:
        """Emit a message on each of the channels, in one round trip."""
        numbered = enumerate(channels, len(self.records))
        names = [Name(self._style.name, number, channel) for number, channel in numbered]
        began = time.time()
        try:
            ids = self._send([(name.channel, data(name, size)) for name in names])
        except FAILURES:
            ids = [None] * len(names)
        ended = time.time()
        self.records += [
            Record(*name, id, began, ended) for name, id in zip(names, ids, strict=True)
        ]

    def _run(self) -> None:
        while not self._over.wait(self._chance.expovariate(self._style.rate)):
            self._awake.wait()
            count = self._chance.choice([1, 1, 1, 1, 1, 1, 1, 1, 1, 5])
            channels = self._chance.choices(self._style.channels, self._weights, k=count)
            if self._transient is not None and self._chance.random() < 0.05:
                self._try_transient(channels[0])
            self.emit(channels)

    def _try_transient(self, channel: str) -> None:
        try:
            assert self._transient is not None
            self._transient(channel)
        except FAILURES:
            pass


def by_emitter(emitter: Emitter) -> tuple[Send, Callable[[str], Any]]:
    """Return two functions: one sends messages with an `Emitter`, one sends a transient message."""

    def send(messages: Sequence[Message]) -> Sequence[str | None]:
        if len(messages) == 1:
            return [emitter.emit(*messages[0])]
        return emitter.emit_many(messages)

    def transient(channel: str) -> Any:
        return emitter.emit(channel, None, event="transient", persist=False)

    return send, transient


def by_app(port: int) -> Send:
    """Return a function that emits through the application, whose worker may die meanwhile."""

    def send(messages: Sequence[Message]) -> Sequence[str | None]:
        # Only one message, because a failure says nothing of messages that were sent before it.
        ((channel, value),) = messages[:1]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/emit/{channel}", json.dumps(value), headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(f"The application answered {response.status}.")
        return [json.loads(body)["id"]]

    return send


class EmittingOne(Emitting):
    """A thread that emits one message in each round trip."""

    def emit(self, channels: Iterable[str], size: int = 0) -> None:
        for channel in channels:
            super().emit([channel], size)


@dataclass
class Where:
    """The Redis that everybody uses, and how long it keeps what."""

    url: str
    history: int
    history_ttl: float
    silence_ttl: float
    #: The addresses of Sentinels, as JSON, in the place of the URL; or "".
    sentinels: str = ""

    def emitter(self, url: str = "") -> Emitter:
        return Emitter(
            url or self.url,
            prefix=PREFIX,
            history=self.history,
            history_ttl=self.history_ttl,
            silence_ttl=self.silence_ttl,
            redis=behind_sentinels(self.sentinels),
        )

    @property
    def environ(self) -> dict[str, str]:
        """The same for the application."""
        settings = {
            "URL": self.url,
            "PREFIX": json.dumps(PREFIX),
            "HISTORY": str(self.history),
            "HISTORY_TTL": str(self.history_ttl),
            "SILENCE_TTL": str(self.silence_ttl),
        }
        environ = {f"TEST_REDIS_EVENTS_{name}": value for name, value in settings.items()}
        return {**environ, "TEST_SENTINELS": self.sentinels}


def behind_sentinels(addresses: str) -> object:
    """Return a client that asks Sentinels for the master, or None where there are none."""
    if not addresses:
        return None
    sentinels = [tuple(address) for address in json.loads(addresses)]
    return Sentinel(sentinels, socket_timeout=0.5).master_for("main", socket_timeout=1)


def arguments(where: Where, styles: Sequence[Style], path: Path) -> list[str]:
    """Return the command of a process that emits in these styles and writes its records."""
    each = [asdict(style) for style in styles]
    given = {"where": asdict(where), "styles": each, "path": str(path)}
    return [sys.executable, "-X", "faulthandler", "-m", "tests.audit.emitting", json.dumps(given)]


class Outside:
    """An emitting process, which can be frozen."""

    def __init__(self, where: Where, styles: Sequence[Style], directory: Path) -> None:
        self._path = directory / f"{styles[0].name}.json"
        log = directory / f"{styles[0].name}.log"
        self._process = Process(arguments(where, styles, self._path), log, os.environ)
        self._process.start()

    def pause(self) -> None:
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.end(signal.SIGTERM, timeout=40)

    @property
    def records(self) -> list[Record]:
        if not self._path.exists():
            ended = f"An emitter ended with status {self._process.status}, without its records"
            raise RuntimeError(f"{ended}:\n{self._process.log}")
        return [Record(*record) for record in json.loads(self._path.read_text())]


def main(given: dict[str, Any]) -> None:
    over = threading.Event()

    def stop(number: int, frame: object) -> None:
        over.set()
        # If the process hangs, its log shows where, before the process is killed.
        faulthandler.dump_traceback_later(35)

    signal.signal(signal.SIGTERM, stop)
    emitter = Where(**given["where"]).emitter()
    emitting = [Emitting(Style(**style), *by_emitter(emitter)) for style in given["styles"]]
    for each in emitting:
        each.start()
    over.wait()
    for each in emitting:
        each.stop()
    emitter.close()
    records = [record for each in emitting for record in each.records]
    Path(given["path"]).write_text(json.dumps(records))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
