"""`python -m flask_redis_events bench URL`: many browsers in one process.

The load generator opens streams, counts the messages that they receive, and reports how late these
arrive.  It must cost less than the server that it measures, so it runs on epoll and plain sockets,
without gevent and Flask.
"""

from __future__ import annotations

from .command import main
from .figures import Figures
from .load import Load
from .target import Target

__all__ = ["Figures", "Load", "Target", "main"]
