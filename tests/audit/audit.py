"""One run of the audit: start everything, cause faults, let the clients catch up, and count."""

from __future__ import annotations

import contextlib
import functools
import json
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flask_redis_events.concurrency import Deadline
from flask_redis_events.wire import Position
from tests.support.servers import Gunicorn
from tests.support.waiting import wait_until

from .emitting import Emitting, EmittingOne, Outside, Style, Where, by_app, by_emitter
from .fate import Fate, worst
from .ledger import Ledger, Record, reconcile
from .losses import note_what_nobody_caused
from .page import Page, ask
from .scene import HEARTBEAT, Scene
from .scribe import Scribe
from .verdict import Verdict
from .viewing import Stage
from .worlds import WORLDS

Say = Callable[[str], None]

SETTINGS = {
    "HEARTBEAT": str(HEARTBEAT),
    "RETRY": "0.3",
    "BUFFER": "300000",
}
#: Seconds after which a fault is noted as a slow one.
SLOW = 60
#: Seconds in which all pages must come to the last message, and once more to their stream: a busy
#: machine needs many, and a quiet one hardly any.
PATIENCE = 60
#: Small socket buffers in the kernel, so that the server soon notices a client that does not read.
CONFIG = """
def when_ready(server):
    import socket
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
"""


@dataclass
class Plan:
    """The size and the length of a run, in seconds; the seed decides everything else."""

    seed: int
    seconds: float = 300
    clients: int = 60
    channels: int = 20
    world: str = "lasting"
    #: Emitting processes, with two threads each; two more threads emit through the application.
    processes: int = 2
    #: Emits a second, in each thread.
    rate: float = 20


@dataclass
class Outcome:
    """The result of a run."""

    verdict: Verdict
    ledger: Ledger
    faults: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    connections: int = 0
    #: The sum over all workers of the last metrics that each one returned.
    metrics: Counter[str] = field(default_factory=Counter)
    #: As what runs ended for their producers.
    runs: Counter[str] = field(default_factory=Counter)
    viewers: int = 0

    @property
    def clean(self) -> bool:
        ledger = self.ledger
        return self.verdict.clean and not (ledger.twice or ledger.unkept or ledger.foreign)


class Audit:
    """All servers, emitters and pages of a run."""

    def __init__(self, plan: Plan, directory: Path, say: Say, running: contextlib.ExitStack):
        self.plan = plan
        self.say = say
        self._running = running
        self._chance = random.Random(plan.seed)
        self._names = [f"c{number}" for number in range(plan.channels)]
        self._metrics: dict[int, dict[str, int]] = {}
        self.world = WORLDS[plan.world]
        (directory / "store").mkdir()
        self.store = self.world.open(directory / "store", running)
        self.where = Where(
            self.store.url,
            self.world.history,
            self.world.history_ttl,
            self.world.silence_ttl,
            self.store.sentinels,
        )
        environ = {f"TEST_REDIS_EVENTS_{name}": value for name, value in SETTINGS.items()}
        app = "tests.audit.app:create_app()"
        self.server = running.enter_context(
            Gunicorn(app, workers=2, env=environ | self.where.environ, config_text=CONFIG)
        )
        self.scribe = Scribe(self.store)
        if not self.world.lasting:
            running.callback(self.scribe.stop)
            self.scribe.start()
        self.pages: list[Page] = []
        #: All pages, also those that were closed.
        self.every_page: list[Page] = []
        for _ in range(plan.clients):
            self._come()
        for page in self.pages:
            page.wait_for(lambda events: len(events) > 0, 30)
        emitter = self.where.emitter()
        running.callback(emitter.close)
        self._burster = Emitting(self._style("burst"), by_emitter(emitter)[0])
        self.emitting = list(self._emit(directory))
        self.stage = Stage(self.server.url, self.where, directory, self._chance.randrange(2**32))
        running.callback(self.stage.close)
        self.stage.start()
        self.scene = Scene(
            self._chance,
            self.server,
            self.store,
            self.where,
            self.pages,
            self._come,
            self._burster.emit,
            self._names,
            self.emitting,
            self.stage,
        )

    def _style(self, name: str) -> Style:
        return Style(name, self._names, self.plan.rate, self._chance.randrange(2**32))

    def _emit(self, directory: Path) -> Iterator[Emitting | Outside]:
        for number in range(self.plan.processes):
            styles = [self._style(f"process-{number}-{thread}") for thread in range(2)]
            outside = Outside(self.where, styles, directory)
            self._running.callback(outside.stop)
            yield outside
        for number in range(2):
            inside = EmittingOne(self._style(f"app-{number}"), by_app(self.server.port))
            self._running.callback(inside.stop)
            inside.start()
            yield inside

    def _come(self) -> None:
        """Open a page; every tenth shows the same as one of the five pages before it."""
        number = len(self.every_page)
        if number % 10 == 9:
            asked = self.every_page[-1 - self._chance.randrange(5)].asked
        else:
            asked = ask(number, self._names, self._chance)
        page = Page(self.server.url, f"page {number}", asked)
        self._running.callback(page.close)
        self.pages.append(page)
        self.every_page.append(page)

    def make_trouble(self) -> Counter[str]:
        """Cause faults in random order; every fault occurs before any is repeated."""
        faults = self.world.faults
        done: Counter[str] = Counter()
        started = time.monotonic()
        waiting: list[Callable[[Scene], None]] = []
        while (passed := time.monotonic() - started) < self.plan.seconds:
            self._ask_for_metrics()
            self.scene.wait(self._chance.uniform(0.1, 2))
            waiting = waiting or self._chance.sample(faults, len(faults))
            fault = waiting.pop()
            had = sum(page.connections for page in self.every_page)
            self.say(f"{passed:5.0f} s  {had:6d} connections  {fault.__doc__}")
            fault(self.scene)
            done[str(fault.__doc__)] += 1
            done[f"faults that took longer than {SLOW} seconds"] += self._is_slow(started + passed)
            done["a failover that was no fault of the schedule"] += note_what_nobody_caused(
                self.scene
            )
        return done

    def _is_slow(self, since: float) -> bool:
        """Say whether something took long, as on a busy machine Sentinels need time to agree."""
        if time.monotonic() - since < SLOW:
            return False
        self.say(f"       … which took {time.monotonic() - since:.0f} s")
        return True

    def settle(self) -> tuple[Ledger, Fate]:
        """Stop emitting, and let every page catch up; then wait for events that must not come."""
        self.say("settling …")
        self.stage.stop()
        for each in self.emitting:
            each.stop()
        self._end_every_channel()
        self.scribe.stop()
        self.scribe.look()
        records = [record for each in self.emitting for record in each.records]
        records += [*self._burster.records, *self.scene.records]
        # A page that came last has perhaps no answer yet.
        self._wait_for_pages([functools.partial(_began, page, 1) for page in self.pages])
        ledger, fate = self._reconcile(records)
        lasts = [max(page.awaited(ledger, fate), default=Position(0)) for page in self.pages]
        arrived = zip(self.pages, lasts, strict=True)
        self._wait_for_pages([functools.partial(_has, page, last) for page, last in arrived])
        self.stage.settle()
        # All pages reconnect, because a wrong cursor shows in what the server then sends.
        again = [functools.partial(_began, page, page.beginnings + 1) for page in self.pages]
        for page in self.pages:
            page.drop()
        self._wait_for_pages(again)
        _listen(HEARTBEAT * 3)
        self._ask_for_metrics()
        return self._reconcile(records)

    def _wait_for_pages(self, conditions: Iterable[Callable[[], bool]]) -> None:
        """Wait for a condition of each page; whoever judges the page sees if it did not come."""
        deadline = Deadline(PATIENCE)
        for condition in conditions:
            with contextlib.suppress(AssertionError):
                wait_until(condition, deadline.left or 0.0)

    def _end_every_channel(self) -> None:
        """Emit last messages, so that each page has something to come to."""
        self.scene.wait(1)
        own = [name for page in self.pages if page.asked.alone for name in page.asked.channels]
        for name in [*self._names, *own]:
            # Callbacks skip one of three.
            self._burster.emit([name] * 3)

    def _reconcile(self, records: Sequence[Record]) -> tuple[Ledger, Fate]:
        received = {kept for page in self.every_page for kept in page.received}
        fate = Fate(
            self.scribe.seen,
            self.world.lasting,
            self.scene.excuses,
            self.scene.failovers,
            # A heartbeat's id is older than the heartbeat.
            self.world.silence_ttl - HEARTBEAT - 0.5,
            received,
            looks=self.scribe.looks,
        )
        ledger = reconcile(
            records,
            self.scribe.seen,
            received=received,
            failovers=fate.failovers,
            lasting=self.world.lasting,
        )
        if not self.world.lasting:
            by_id = {emission.id: emission for emission in ledger.truth}
            fate.lags = worst(lag for page in self.every_page for lag in page.lags(by_id))
        return ledger, fate

    def count(self, ledger: Ledger, fate: Fate, faults: Counter[str]) -> Outcome:
        """Judge every page, also those that were closed."""
        verdict = Verdict()
        for page in self.every_page:
            page.judge(verdict, ledger, fate)
        self.stage.judge(verdict, fate)
        metrics: Counter[str] = Counter()
        for each in self._metrics.values():
            metrics.update(each)
        connections = sum(page.connections for page in self.every_page)
        viewers = sum(len(viewers) for _, viewers in self.stage.plays)
        return Outcome(
            verdict,
            ledger,
            faults + self.stage.mishaps,
            len(self.every_page),
            connections,
            metrics,
            Counter(play.state or "killed" for play, _ in self.stage.plays),
            viewers,
        )

    def _ask_for_metrics(self) -> None:
        for _ in range(4):
            with contextlib.suppress(OSError, ValueError):
                with urllib.request.urlopen(f"{self.server.url}/state", timeout=2) as response:
                    state = json.load(response)
                self._metrics[state["pid"]] = state["metrics"]


def run(plan: Plan, directory: Path, say: Say = lambda text: None) -> Outcome:
    """Run an audit, and return its outcome."""
    with contextlib.ExitStack() as running:
        audit = Audit(plan, directory, say, running)
        faults = audit.make_trouble()
        return audit.count(*audit.settle(), faults)


def _began(page: Page, times: int) -> bool:
    return page.beginnings >= times


def _has(page: Page, last: Position) -> bool:
    return page.cursor >= last


def _listen(seconds: float) -> None:
    """Let time pass; a sleep, because no event is expected that a test could wait for."""
    time.sleep(seconds)
