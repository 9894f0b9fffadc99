"""`python -m tests.audit`: cause faults for a while, then count every message.

With `--soak`: open and leave many streams, and look whether anything grows.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from .audit import Outcome, Plan, run
from .soak import KINDS, soak
from .worlds import WORLDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long to cause faults (300)")
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--world", choices=WORLDS, action="append", help="one world (all)")
    parser.add_argument("--soak", type=int, metavar="N", help="open and leave N streams instead")
    arguments = parser.parse_args()
    if arguments.soak:
        return 0 if soaked(arguments.soak, arguments.seed) else 1
    worlds = arguments.world or list(WORLDS)
    plans = [
        Plan(arguments.seed, arguments.seconds, arguments.clients, arguments.channels, world)
        for world in worlds
    ]
    clean = [audit(plan) for plan in plans]
    return 0 if all(clean) else 1


def soaked(count: int, seed: int) -> bool:
    """Say whether nothing grew but memory, which is shown."""
    print(f"seed {seed}: {count} streams, {', '.join(KINDS)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="redis-events-soak-") as directory:
        result = soak(count, Path(directory), seed=seed, say=lambda text: print(text, flush=True))
    grown = result.grown(len(result.samples) // 2)
    print(f"{result.streams} answered; in the second half grew {grown}")
    return result.streams == count and result.level


def audit(plan: Plan) -> bool:
    name = f"seed {plan.seed}, {plan.world}"
    print(
        f"{name}: {plan.clients} clients, {plan.channels} channels, {time.time():.0f}", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="redis-events-audit-") as directory:
        outcome = run(plan, Path(directory), lambda text: print(text, flush=True))
    print(f"{table(outcome)}\n\n{name}: {'clean' if outcome.clean else 'NOT CLEAN'}", flush=True)
    return outcome.clean


def table(outcome: Outcome) -> str:
    """Return an outcome as text, with a line for each count."""
    verdict, ledger = outcome.verdict, outcome.ledger
    groups: list[list[tuple[str, int]]] = [
        sorted(outcome.faults.items()),
        [(f"server: {name}", count) for name, count in sorted(outcome.metrics.items())],
        [
            ("messages acknowledged by emit", ledger.acknowledged),
            ("emits that raised", ledger.failed),
            ("… but were published", ledger.failed_kept),
            ("deliveries", verdict.deliveries),
            ("pages", outcome.pages),
            ("resumes", outcome.connections - outcome.pages),
            *((f"runs: {state}", count) for state, count in sorted(outcome.runs.items())),
            ("viewers of runs", outcome.viewers),
        ],
        [
            ("missed and told, as Redis had lost it", verdict.told),
            ("missed and untold, as a failover lost it before any worker had it", verdict.unseen),
            ("resets of clients that missed something", verdict.true_resets),
            *(
                (f"resets that could not be avoided: {reason}", count)
                for reason, count in sorted(verdict.excused.items())
            ),
            ("viewers of runs that had not begun, or that Redis had lost before", verdict.waiting),
            ("published again, as a failover lost the first", len(ledger.again)),
            ("forged data", verdict.forged),
        ],
        [
            ("lost and untold", verdict.lost),
            ("repeated", verdict.repeated),
            ("out of order", verdict.out_of_order),
            ("cursors moved back", verdict.cursor_back),
            ("false resets", verdict.false_resets),
            ("streams that stopped, or of a run that did not end", verdict.stopped),
            ("ended as something else than the run", verdict.wrong_ends),
            ("never emitted, or not for this client", verdict.strangers),
            ("under another id than emit returned", verdict.damaged),
            ("published twice", len(ledger.twice)),
            ("acknowledged, but not in Redis", len(ledger.unkept)),
            ("in Redis, but never emitted", len(ledger.foreign)),
        ],
    ]
    lines = [f"{count:9d}  {what}" for group in groups for what, count in [("", 0), *group] if what]
    return "\n".join(["", *lines, *verdict.details, "", "\n\n".join(verdict.stories)])


if __name__ == "__main__":
    sys.exit(main())
