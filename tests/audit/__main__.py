"""`python -m tests.audit`: make trouble, and count every message."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from .audit import Outcome, Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long to make trouble")
    parser.add_argument("--clients", type=int, default=60)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    plan = Plan(arguments.seed, arguments.seconds, arguments.clients, arguments.channels)
    print(f"seed {plan.seed}: {plan.clients} clients, {plan.channels} channels", flush=True)
    with tempfile.TemporaryDirectory(prefix="redis-events-audit-") as directory:
        outcome = run(plan, Path(directory), lambda text: print(text, flush=True))
    print(table(outcome))
    return 0 if outcome.clean else 1


def table(outcome: Outcome) -> str:
    """Show an outcome, a line each."""
    verdict = outcome.verdict
    rows = [
        ("messages emitted", outcome.emitted),
        ("emits that raised BrokerError", outcome.failed),
        ("deliveries", verdict.deliveries),
        ("connections", outcome.connections),
        *sorted(outcome.faults.items()),
        ("lost", verdict.lost),
        ("repeated", verdict.repeated),
        ("out of order", verdict.out_of_order),
        ("never emitted", verdict.strangers),
        ("unjustified resets", verdict.resets),
        ("streams that stopped", verdict.stopped),
        ("acknowledged, and lost by Redis", outcome.unkept),
    ]
    lines = [f"{count:9d}  {what}" for what, count in rows]
    return "\n".join(["", *lines, *verdict.details])


if __name__ == "__main__":
    sys.exit(main())
