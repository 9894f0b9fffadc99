"""Why a stream ends."""

from __future__ import annotations

import pytest

from flask_redis_events import endings
from flask_redis_events.endings import Ending

ALL = [value for value in vars(endings).values() if isinstance(value, Ending)]


def test_each_ending_has_a_reason_of_its_own():
    """Metrics, logs and clients tell endings apart by their reasons."""
    reasons = [ending.reason for ending in ALL]

    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize(
    "claim, reasons",
    [
        pytest.param(
            lambda ending: not ending.readable,
            {"gone", "overflow", "write timeout"},
            id="nothing more is for a client that left or does not read",
        ),
        pytest.param(
            lambda ending: ending.cut,
            {"overflow", "write timeout"},
            id="the connection of a client that does not read is cut",
        ),
        pytest.param(
            lambda ending: not ending.returns,
            {"ended", "disconnected"},
            id="what the application ends is for good",
        ),
        pytest.param(
            lambda ending: ending.patience > 1,
            {"forbidden", "too many", "too many resumes"},
            id="a client that would be turned away again comes back later",
        ),
        pytest.param(lambda ending: ending.patience < 1, set(), id="no client comes back sooner"),
    ],
)
def test_an_ending_says_what_becomes_of_its_client(claim, reasons):
    """Each property of an ending holds for exactly these endings."""
    assert {ending.reason for ending in ALL if claim(ending)} == reasons
