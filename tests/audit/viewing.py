"""Runs under audit: processes that produce them and are killed, and the viewers of each run.

Some viewers come before a run begins, some in its midst, and some after its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from flask_redis_events import BrokerError, Emitter
from flask_redis_events.concurrency import Deadline
from flask_redis_events.wire import Position
from flask_redis_events.wire.sse import Event
from tests.support.processes import Process
from tests.support.sse_client import EventSource, SSEClient
from tests.support.waiting import wait_until

from .emitting import Where
from .fate import Fate
from .producing import BEFORE, LEASE, arguments, numbers
from .runs import Play, Saw, judge_run, on_page
from .verdict import Verdict

#: Seconds between two looks at the journals.
PERIOD = 0.2
#: How many processes produce at the same time.
PRODUCERS = 2
#: Seconds in which a run is declared lost: its lease, and a worker's look every five.
NOTICE = LEASE + 5
#: Seconds after that in which every viewer must have its end; a busy machine needs many.
PATIENCE = 60


class Viewer(EventSource):
    """A page that shows a run, and closes its stream at the end."""

    def __init__(self, url: str) -> None:
        self.saw: list[Saw] = []
        super().__init__(url)

    @property
    def ended(self) -> bool:
        return any(one.kind == "end" for one in list(self.saw))

    def _take(self, client: SSEClient, events: list[Event]) -> None:
        self.saw += [_saw(event) for event in events]
        super()._take(client, events)
        if self.ended:
            self._stopped = True


def _saw(event: Event) -> Saw:
    id, at = Position.parse(event.last_event_id), time.time()
    if event.event == "message":
        return Saw(at, "message", id, numbers(json.loads(event.data)))
    text = json.loads(event.data) if event.event in ("reset", "end") else {}
    return Saw(at, event.event, id, text=text.get("reason") or text.get("state") or "")


class Producer:
    """A process, and what its journal says.  A process that was killed has a successor."""

    def __init__(self, where: Where, name: str, seed: int, directory: Path) -> None:
        self._path = directory / f"{name}.journal"
        self._path.touch()
        self._read = 0
        self.play: Play | None = None
        command = arguments(where, name, seed, self._path)
        self.process = Process(command, directory / f"{name}.log", os.environ)
        self.process.start()

    def look(self) -> Iterator[Play]:
        """Read what was written since the last time; yield the runs that are announced."""
        with self._path.open() as journal:
            journal.seek(self._read)
            lines = journal.read()
        # The last line may be half written.
        lines = lines[: lines.rfind("\n") + 1]
        self._read += len(lines)
        for line in lines.splitlines():
            *words, at = line.split()
            if words[0] == "run":
                self.play = Play(words[1])
                yield self.play
            elif self.play is None:
                raise ValueError(f"A journal begins with {line!r}.")
            elif words[0] == "end":
                self.play.state, self.play.ended = words[1], float(at)
            else:
                self.play.sent[int(words[0])] = float(at)


class Stage:
    """All producers and viewers: a thread that starts them, kills producers and cuts viewers off.

    `mishaps` counts what it did.
    """

    def __init__(self, url: str, where: Where, directory: Path, seed: int) -> None:
        self.plays: list[tuple[Play, list[Viewer]]] = []
        self.mishaps: Counter[str] = Counter()
        self._url = url
        self._where = where
        self._directory = directory
        self._chance = random.Random(seed)
        self._producers: list[Producer] = []
        self._made = 0
        #: What is to be done, and at which monotonic time.
        self._due: list[tuple[float, Callable[[], object]]] = []
        self._emitter = where.emitter()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        for _ in range(PRODUCERS):
            self._hire()
        self._thread.start()

    @property
    def running(self) -> list[str]:
        """The names of the runs that are under way."""
        return [play.name for p in self._producers if (play := p.play) and play.state is None]

    def stop(self) -> None:
        """Let the producers end their runs, and wait until all viewers have their end."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        for producer in self._producers:
            producer.process.signal(signal.SIGCONT)
            producer.process.end(signal.SIGTERM, timeout=60)
            self._look(producer)
        for _, act in sorted(self._due, key=lambda one: one[0]):
            act()

    def settle(self) -> None:
        """Wait until all viewers have their end, and ask Redis for what it knows of the runs."""
        every = [(play, viewer) for play, viewers in self.plays for viewer in viewers]
        with contextlib.suppress(AssertionError):
            wait_until(lambda: all(viewer.ended for _, viewer in every), NOTICE * 3)
        deadline = Deadline(PATIENCE)
        for play, viewer in every:
            with contextlib.suppress(AssertionError):
                wait_until(partial(self._has_come_to_rest, play, viewer), deadline.left or 0.0)
        for play, _ in self.plays:
            _ask(self._emitter, play)

    def _has_come_to_rest(self, play: Play, viewer: Viewer) -> bool:
        """Say whether a viewer has its end, or waits for a run that Redis does not know."""
        saw = list(viewer.saw)
        if viewer.ended or not saw or on_page(saw):
            return viewer.ended
        # Not sooner, because whoever asks for the status ends a run whose producer is lost.
        return self._emitter.run_status(play.name) == "pending"

    def close(self) -> None:
        self._over.set()
        for producer in self._producers:
            producer.process.end(signal.SIGKILL)
        for _, viewers in self.plays:
            for viewer in viewers:
                viewer.close()
        self._emitter.close()

    def judge(self, verdict: Verdict, fate: Fate) -> None:
        for play, viewers in self.plays:
            judge_run(verdict, play, [list(viewer.saw) for viewer in viewers], fate)

    def _run(self) -> None:
        while not self._over.wait(PERIOD):
            for producer in list(self._producers):
                self._look(producer)
            now = time.monotonic()
            due = [act for at, act in self._due if at <= now]
            self._due = [one for one in self._due if one[0] > now]
            for act in due:
                act()
            if self._chance.random() < 0.1:
                self._cut_off()

    def _hire(self) -> None:
        self._made += 1
        seed = self._chance.randrange(2**32)
        self._producers.append(Producer(self._where, str(self._made), seed, self._directory))

    def _look(self, producer: Producer) -> None:
        for play in producer.look():
            viewers: list[Viewer] = []
            self.plays.append((play, viewers))

            def come(play: Play = play, viewers: list[Viewer] = viewers) -> None:
                path = self._chance.choice(["run", "told"])
                viewers.append(Viewer(f"{self._url}/{path}/{play.name}"))

            come()
            # In its midst, and after its end: a run takes up to about six seconds.
            for after in (self._chance.uniform(BEFORE, 4), self._chance.uniform(7, 20)):
                self._later(after, come)
            self._maybe_disturb(producer, play)

    def _maybe_disturb(self, producer: Producer, play: Play) -> None:
        after, chance = BEFORE + self._chance.uniform(0.1, 3), self._chance.random()
        if chance < 0.2:
            self._later(after, lambda: self._kill(producer))
        elif chance < 0.25:
            self._later(after, lambda: self._freeze(producer))
        elif chance < 0.35:
            self._later(after, lambda: self._ask_to_stop(play))

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        self._due.append((time.monotonic() + seconds, act))

    def _kill(self, producer: Producer) -> None:
        if self._works(producer):
            self.mishaps["a run's producer killed"] += 1
            producer.process.end(signal.SIGKILL)
            self._look(producer)
            self._producers.remove(producer)
            self._hire()

    def _freeze(self, producer: Producer) -> None:
        if self._works(producer):
            self.mishaps["a run's producer frozen for longer than its lease"] += 1
            producer.process.signal(signal.SIGSTOP)
            self._later(NOTICE + 2, lambda: self._thaw(producer))

    def _thaw(self, producer: Producer) -> None:
        if self._works(producer):
            producer.process.signal(signal.SIGCONT)

    def _works(self, producer: Producer) -> bool:
        return producer in self._producers and not self._over.is_set()

    def _ask_to_stop(self, play: Play) -> None:
        if not self._over.is_set():
            with contextlib.suppress(BrokerError):
                self._emitter.request_stop(play.name)
                self.mishaps["a run asked to stop"] += 1

    def _cut_off(self) -> None:
        viewers = [v for _, viewers in self.plays[-6:] for v in viewers if not v.stopped]
        if viewers:
            self._chance.choice(viewers).drop()


def _ask(emitter: Emitter, play: Play) -> None:
    play.status = emitter.run_status(play.name)
    kept = emitter.history(play.name, limit=1000)
    play.kept = [n for event in kept if event.event is None for n in numbers(event.data)]
