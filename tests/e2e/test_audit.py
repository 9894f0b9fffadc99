"""The audit in its short form: faults for a while, and a count of every message."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.audit.__main__ import table
from tests.audit.audit import Plan, run
from tests.audit.soak import soak
from tests.audit.worlds import WORLDS
from tests.support.travel import TravellingRedis


@pytest.mark.timeout(240)
@pytest.mark.parametrize("world", WORLDS)
def test_nothing_is_lost_in_silence_repeated_or_out_of_order(world: str, tmp_path: Path):
    """Every message arrives once and in order, or Redis had lost it and the client was told."""
    if world == "losing" and (missing := TravellingRedis.missing()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    plan = Plan(random.randrange(10**6), seconds=25, clients=50, world=world)
    outcome = run(plan, tmp_path)

    size = f"--seconds {plan.seconds} --clients {plan.clients}"
    command = f"python -m tests.audit --world {world} --seed {plan.seed} {size}"
    assert outcome.clean, f"{command}\n{table(outcome)}"
    assert outcome.verdict.deliveries > 1000


@pytest.mark.timeout(240)
def test_streams_that_have_left_leave_nothing_behind(tmp_path: Path):
    """Neither memory, objects, greenlets, descriptors nor keys grow with the streams."""
    result = soak(3000, tmp_path, parts=6, seed=random.randrange(10**6))

    assert result.streams == 3000
    assert result.level, "\n".join(map(str, result.samples))
