"""The differences between the versions of redis-py, 5.0 to 8, so that nobody else has to know them.

Each difference is read from redis-py's own signatures, so that no table of versions can be wrong.
A function for an older version ends with the support for that version.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from redis import Connection
from redis.exceptions import TimeoutError as RedisTimeoutError

_pack: Callable[[tuple[Any, ...]], bytes] | None
try:
    from hiredis import pack_command as _pack
except ImportError:  # hiredis is optional, and old ones lack this
    _pack = None

#: Whether a reading takes a timeout of its own, as from 8 on.
_TIMED = "timeout" in inspect.signature(Connection.read_response).parameters


def pack(connection: Any, commands: Sequence[Sequence[Any]]) -> Any:
    """Return commands as they are sent; redis-py's way to hiredis takes longer than hiredis."""
    if _pack is None:
        return connection.pack_commands(commands)
    return [b"".join([_pack(tuple(command)) for command in commands])]


def is_connected(connection: Any) -> bool:
    """Say whether the connection has a socket; its own `is_connected` exists from 8 on."""
    return connection._sock is not None


def read_reply(connection: Any, timeout: float) -> Any:
    """Return the next reply; raise redis-py's TimeoutError if `timeout` seconds bring none.

    Before 8, a reply of which a part has arrived may take longer.  The probe closes a connection
    that is silent in the middle of a reply.
    """
    if _TIMED:
        return connection.read_response(timeout=timeout, disconnect_on_error=False)
    if not is_connected(connection):
        # `can_read` would connect again, and the new connection would be subscribed to nothing.
        raise ConnectionError("Connection closed.")
    if not connection.can_read(timeout):
        raise RedisTimeoutError
    return connection.read_response(disconnect_on_error=False)
