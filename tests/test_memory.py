"""Free memory goes back to the system."""

from __future__ import annotations

import ctypes
import platform

import psutil
import pytest

from flask_redis_events import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries do so themselves")
def test_free_memory_is_given_back():
    """Memory between pieces that are in use leaves the process when it is given back."""
    process = psutil.Process()
    # Each is smaller than what glibc takes from the system for itself.
    pieces = [bytes(2000) for _ in range(50_000)]
    large = process.memory_info().rss
    pieces = pieces[::100]
    memory.give_back()

    assert large - process.memory_info().rss > 50_000_000
    assert len(pieces) == 500


def test_elsewhere_there_is_nothing_to_do(monkeypatch):
    """A C library without `malloc_trim` is left alone."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    memory._trim.cache_clear()
    memory.give_back()
    memory._trim.cache_clear()
