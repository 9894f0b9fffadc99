"""A process that produces runs, one after the other, and writes down what it sends before it does.

`python -m tests.audit.producing '{…}'` produces until SIGTERM.  It may be killed at any moment, so
each line of its journal is written at once: `run <name>`, a number that is about to be sent, or
`end <state>`, and the Unix time.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flask_redis_events import BrokerError, Emitter, RunLost

from .emitting import Where

#: Seconds for which a producer may be silent.
LEASE = 5.0
#: Seconds for which a log is kept: longer than an audit lasts.
TTL = 7200.0
#: Seconds from the moment at which a run is announced to its begin.
BEFORE = 0.7

Note = Callable[[object], None]


class GaveUp(Exception):
    """The application's own failure in the midst of a run."""


def arguments(where: Where, name: str, seed: int, path: Path) -> list[str]:
    """Return the command of a process whose runs are named after it."""
    given = {"where": asdict(where), "name": name, "seed": seed, "path": str(path)}
    return [sys.executable, "-m", "tests.audit.producing", json.dumps(given)]


def piece(number: int) -> Any:
    """Return what is sent under a number: mostly a text, which may be joined with the next one."""
    return {"number": number} if number % 7 == 3 else f"{number} "


def numbers(data: Any) -> Sequence[int]:
    """Return the numbers of an event's data."""
    return [data["number"]] if isinstance(data, dict) else [int(word) for word in data.split()]


def produce(emitter: Emitter, name: str, chance: random.Random, note: Note) -> str:
    """Produce one run; return as what it ended, as far as its producer knows."""
    try:
        with emitter.run(name, ttl=TTL, lease=LEASE) as run:
            for number in range(chance.randint(5, 120)):
                note(number)
                run.send(piece(number))
                if run.stop_requested:
                    return "stopped"
                time.sleep(chance.choice([0, 0.02, 0.05, 0.15]))
            if chance.random() < 0.1:
                raise GaveUp
    except GaveUp:
        return "failed"
    except RunLost:
        return "lost"
    except BrokerError:
        return "unknown"
    return "finished"


def main(given: dict[str, Any]) -> None:
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: over.set())
    chance = random.Random(given["seed"])
    emitter = Where(**given["where"]).emitter()
    with Path(given["path"]).open("a") as journal:

        def note(what: object) -> None:
            journal.write(f"{what} {time.time()}\n")
            journal.flush()

        for number in range(sys.maxsize):
            if over.wait(chance.uniform(0, 1)):
                break
            name = f"run-{given['name']}-{number}"
            note(f"run {name}")
            time.sleep(BEFORE)
            note(f"end {produce(emitter, name, chance, note)}")
    emitter.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
