"""Tests wait for a condition with a deadline; they never sleep and hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    predicate: Callable[[], T],
    timeout: float = 5,
    message: str | Callable[[], str] = "The condition did not become true",
) -> T:
    """Return the predicate's first true value; raise AssertionError after `timeout` seconds.

    A callable `message` is only called then, so it can show the state at that moment.
    """
    deadline = time.monotonic() + timeout
    pause = 0.005
    while not (value := predicate()):
        if time.monotonic() >= deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"{text} (waited {timeout} s, last value {value!r}).")
        time.sleep(pause)
        # To ask a browser or a server takes time of its own, from what is waited for.
        pause = min(1.5 * pause, 0.05)
    return value
