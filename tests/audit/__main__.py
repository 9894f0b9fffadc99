"""`python -m tests.audit`: cause faults for a while, then count every message."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .audit import Outcome, Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long to cause faults (300)")
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    plan = Plan(arguments.seed, arguments.seconds, arguments.clients, arguments.channels)
    print(f"seed {plan.seed}: {plan.clients} clients, {plan.channels} channels", flush=True)
    with tempfile.TemporaryDirectory(prefix="redis-events-audit-") as directory:
        outcome = run(plan, Path(directory), lambda text: print(text, flush=True))
    print(f"{table(outcome)}\n\nseed {plan.seed}: {'clean' if outcome.clean else 'NOT CLEAN'}")
    return 0 if outcome.clean else 1


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
        ],
        [
            ("lost", verdict.lost),
            ("repeated", verdict.repeated),
            ("out of order", verdict.out_of_order),
            ("cursors moved back", verdict.cursor_back),
            ("unjustified resets", verdict.resets),
            ("streams that stopped", verdict.stopped),
            ("never emitted, or not for this client", verdict.strangers),
            ("under another id than emit returned", verdict.damaged),
            ("published twice", len(ledger.twice)),
            ("acknowledged, but not in Redis", len(ledger.unkept)),
            ("in Redis, but never emitted", len(ledger.foreign)),
        ],
    ]
    lines = [f"{count:9d}  {what}" for group in groups for what, count in [("", 0), *group] if what]
    return "\n".join(["", *lines, *verdict.details])


if __name__ == "__main__":
    sys.exit(main())
