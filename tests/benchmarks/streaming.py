"""A contestant with its clients: opened, published to, and waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from flask_redis_events.bench import Figures, Load, Target
from tests.support.waiting import wait_until

from .contestant import Contestant, message
from .results import Results

#: Seconds after which a measurement has failed.
PATIENCE = 60
#: How many clients may be unanswered at once: enough to keep a server busy, and so few that its
#: memory is that of its clients, and not that of a storm of requests.
AT_ONCE = 10


@dataclass
class Streaming:
    """A contestant whose clients are spread evenly over the channels."""

    contestant: Contestant
    load: Load
    channels: Sequence[str]

    def deliver(self, times: int, each: int) -> tuple[float, Figures]:
        """Publish `each` messages to every channel, all together, once everybody has the last.

        Do so many times; return the server's CPU seconds, and what the clients saw.
        """
        load = self.load
        load.run(0.05)
        load.reset()
        cpu = self.contestant.cpu()
        expected = 0
        for number in range(times):
            self.contestant.publish(
                [(channel, message(number)) for channel in self.channels for _ in range(each)]
            )
            expected += each * len(load.clients)
            self._wait(expected)
        cpu = self.contestant.cpu() - cpu
        if load.messages != expected or load.tally.errors:
            raise RuntimeError(f"{self._state()} for {expected}.")
        return cpu, load.figures()

    def _wait(self, expected: int) -> None:
        if not self.load.run(PATIENCE, until=lambda: self.load.messages >= expected):
            raise RuntimeError(f"{self._state()}, and {expected} do not come.")

    def _state(self) -> str:
        load = self.load
        return (
            f"{self.contestant.name}: {load.messages} messages, {load.open} of"
            f" {len(load.clients)} streams open, errors {dict(load.tally.errors)}"
        )


@contextmanager
def streaming(
    contestant: Contestant,
    clients: int,
    *,
    channels: Sequence[str] = ("one",),
    results: Results | None = None,
) -> Iterator[Streaming]:
    """Open the streams of a running contestant; `results` are told what that took."""
    warm_up(contestant)
    targets = [Target.of(contestant.url(channel)) for channel in channels]
    with Load(*targets) as load:
        memory, cpu, started = contestant.memory(), contestant.cpu(), time.monotonic()
        open_all(contestant, load, clients, channels)
        seconds, cpu = time.monotonic() - started, contestant.cpu() - cpu
        load.run(1.0)
        # With a single client, this would be mostly what a first one costs.
        if results is not None and clients > 1:
            name = contestant.name
            results.add(name, "streams opened per s", clients, clients / seconds)
            results.add(name, "CPU per opening", clients, cpu / clients)
            results.add(
                name, "memory per client", clients, (contestant.memory() - memory) / clients
            )
        yield Streaming(contestant, load, channels)


def warm_up(contestant: Contestant) -> None:
    """Open one stream and close it: the first request of all imports and connects."""
    with Load(Target.of(contestant.url("warm"))) as load:
        load.connect(1, timeout=0.5)


def open_all(contestant: Contestant, load: Load, clients: int, channels: Sequence[str]) -> None:
    """Open streams, and return when nothing that is published will be missed."""
    if contestant.answers_first:
        if not load.connect(clients, timeout=PATIENCE, at_once=AT_ONCE):
            raise RuntimeError(
                f"{contestant.name}: {load.open} streams, {dict(load.tally.errors)}."
            )
        return
    while len(load.clients) < clients:
        load.connect(min(AT_ONCE, clients - len(load.clients)), at_once=None, wait=False)
        asked = len(load.clients)
        wait_until(
            lambda count=asked: contestant.ready(channels, count),  # type: ignore[misc]
            PATIENCE,
            f"The streams of {contestant.name} do not become ready",
        )
