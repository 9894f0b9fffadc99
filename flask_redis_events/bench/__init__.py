"""`python -m flask_redis_events bench URL`: many browsers in one process.

It opens streams, counts what they are sent and says how late that came.  Plain epoll, plain
sockets: it must cost less than the server that it measures, and needs neither gevent nor Flask.
"""

from __future__ import annotations

from .command import main
from .figures import Figures
from .load import Load
from .target import Target

__all__ = ["Figures", "Load", "Target", "main"]
