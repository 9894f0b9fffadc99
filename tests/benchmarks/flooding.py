"""One channel is flooded; how late are the messages of another channel, and an ordinary request?

The flooded clients are a process of their own, so that no quiet arrival is late because this one is
busy with the flood.  They share their core with Redis and the emitter, so a flooded client may be
cut because it does not get to read.

`python -m tests.benchmarks.flooding URL PREFIX START SECONDS` is the emitter.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from flask_redis_events import Emitter
from flask_redis_events.bench import Load, Target
from flask_redis_events.bench.figures import Spread
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

from .contestant import BURST, message
from .ours import Callback, HandOff, Ours
from .run import Run
from .streaming import PATIENCE, warm_up

CLIENTS = 20
#: Paths of the two clients on the channel that is not flooded.
QUIET = {"quiet plain stream": "stream", "quiet callback": "callback"}
#: What the worker counts of the flooded streams.
COUNTED = {
    "flood: streams cut for overflow": "closed.overflow",
    "flood: streams cut for write timeout": "closed.write timeout",
    "flood: connections to Redis lost": "lost",
}
#: Seconds from starting the emitter to the flood.
LEAD = 1.0
#: Seconds after the flood; a quiet message that has not come by then counts as this late.
TAIL = 20.0
#: Seconds from one quiet message to the next, each with a request.
EVERY = 0.1

Figures = Iterator[tuple[str, float]]


def flooding(run: Run) -> None:
    """Flood plain streams, and streams with a callback; each time, of a new worker."""
    seconds = 2.0 if run.quick else 4.0
    for number in range(run.rounds):
        for kind in run.turns(run.chosen(HandOff, Callback), number):
            run.tell(f"{kind.name}: {CLIENTS} clients flooded, round {number + 1}")
            with ExitStack() as stack:
                contestant = run.start(kind, stack)
                assert isinstance(contestant, Ours)
                for measure, value in Flood(contestant, seconds, stack).figures():
                    run.results.add(kind.name, measure, CLIENTS, value)


@dataclass(frozen=True)
class Flood:
    """One flood of one worker; what it starts ends with the stack."""

    contestant: Ours
    seconds: float
    stack: ExitStack

    @property
    def ticks(self) -> int:
        """How many quiet messages there are, and requests."""
        return round(self.seconds / EVERY)

    def figures(self) -> Figures:
        """Yield each measure and its value, once the flood is over."""
        warm_up(self.contestant)
        before = self.contestant.metrics()
        flooded = self._flooded_clients(before["opened"])
        quiet = {name: self._quiet_client(path) for name, path in QUIET.items()}
        start = time.monotonic() + LEAD
        asked, emitted = self._flood(start, quiet.values())
        seen, passed = _interrupted(flooded), time.monotonic() - start
        after = self.contestant.metrics()
        yield "flood: messages emitted per s", emitted / self.seconds
        yield "flood: deliveries per s", seen["messages"] / passed
        yield "flood: reconnections", seen["reconnections"]
        for measure, metric in COUNTED.items():
            yield measure, after.get(metric, 0) - before.get(metric, 0)
        for name, load in quiet.items():
            missing = self.ticks - load.messages
            yield f"flood: later than {TAIL:.0f} s, {name}", missing
            yield from _latency(name, [*load.tally.samples.latencies, *[TAIL] * missing])
        yield from _latency("a request", asked)

    def _flooded_clients(self, opened: int) -> subprocess.Popen[str]:
        """Open the streams that are flooded, in a process that prints what it saw."""
        url, longest = self.contestant.url("flood"), LEAD + self.seconds + TAIL + PATIENCE
        arguments = [url, "--clients", CLIENTS, "--seconds", longest, "--json"]
        process = self._python("flask_redis_events", "bench", *arguments)
        wait_until(
            lambda: self.contestant.metrics()["opened"] >= opened + CLIENTS,
            PATIENCE,
            f"The streams of {self.contestant.name} do not open",
        )
        return process

    def _quiet_client(self, path: str) -> Load:
        target = Target.of(f"{self.contestant.server.url}/{path}/quiet")
        load = self.stack.enter_context(Load(target))
        if not load.connect(1, timeout=PATIENCE):
            raise RuntimeError(f"{self.contestant.name}: {dict(load.tally.errors)}.")
        return load

    def _flood(self, start: float, quiet: Iterable[Load]) -> tuple[list[float], int]:
        """Return the seconds that each request took, and how many messages the flood had."""
        url, prefix = self.contestant.redis_url, self.contestant.prefix
        emitter = self._python(__name__, url, prefix, start, self.seconds)
        # A thread for each wait, so that no request is asked later because another one takes long.
        with ThreadPoolExecutor(self.ticks + len(QUIET)) as pool:
            listening = [pool.submit(self._listen, load) for load in quiet]
            requests = [pool.submit(self._tick, start + n * EVERY) for n in range(self.ticks)]
            for one in listening:
                one.result()
        return [one.result() for one in requests], int(emitter.communicate()[0])

    def _listen(self, load: Load) -> None:
        """Read until everything has come, or it is too late."""
        load.run(LEAD + self.seconds + TAIL, until=lambda: load.messages >= self.ticks)

    def _tick(self, at: float) -> float:
        """Send a quiet message when it is time; return how long a request takes then."""
        time.sleep(max(0.0, at - time.monotonic()))
        self.contestant.publish([("quiet", message(0))])
        return self.contestant.ask()

    def _python(self, module: str, *arguments: object) -> subprocess.Popen[str]:
        """Start a module in a process of its own, on our core."""
        command = [sys.executable, "-m", module, *map(str, arguments)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process


def _interrupted(bench: subprocess.Popen[str]) -> dict[str, Any]:
    """Let the clients stop counting, and return their figures."""
    bench.send_signal(signal.SIGINT)
    figures: dict[str, Any] = json.loads(bench.communicate()[0])
    return figures


def _latency(name: str, values: list[float]) -> Figures:
    spread = Spread.of(values)
    assert spread is not None
    yield f"latency beside a flood p50, {name}", spread.p50
    yield f"latency beside a flood p99, {name}", spread.p99


def emit(url: str, prefix: str, start: float, seconds: float) -> int:
    """Emit as fast as this process can; return how many messages that were."""
    emitter, count = Emitter(url, prefix=prefix), 0
    emitter.emit("warm", message(0))
    time.sleep(max(0.0, start - time.monotonic()))
    while time.monotonic() < start + seconds:
        emitter.emit_many([("flood", message(count + number)) for number in range(BURST)])
        count += BURST
    return count


if __name__ == "__main__":
    print(emit(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
