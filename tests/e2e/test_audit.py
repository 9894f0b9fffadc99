"""The audit in its short form: faults for a while, and a count of every message."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.audit.__main__ import table
from tests.audit.audit import Plan, run


@pytest.mark.timeout(240)
def test_nothing_is_lost_repeated_or_out_of_order(tmp_path: Path):
    """Every message arrives once and in order through kills, cuts, restarts and silence."""
    seed = random.randrange(10**6)
    outcome = run(Plan(seed, seconds=25, clients=50), tmp_path)

    assert outcome.clean, f"python -m tests.audit --seed {seed}\n{table(outcome)}"
    assert outcome.verdict.deliveries > 1000
