"""The differences between the versions of redis-py, 5.0 to 8, so that nobody else has to know them.

Each difference is read from redis-py's own signatures, so that no table of versions can be wrong.
A function for an older version ends with the support for that version.
"""

from __future__ import annotations

import inspect
from typing import Any

from redis import BlockingConnectionPool, Connection
from redis.exceptions import TimeoutError as RedisTimeoutError

#: Arguments of `get_connection`: 5.2 and earlier want a command's name, for which they have no use,
#: and 5.3 and later warn of one.
_COMMAND = inspect.signature(BlockingConnectionPool.get_connection).parameters["command_name"]
_NAMED = ("_",) if _COMMAND.default is inspect.Parameter.empty else ()
#: Whether a reading takes a timeout of its own, as from 8 on.
_TIMED = "timeout" in inspect.signature(Connection.read_response).parameters


def take_connection(pool: Any) -> Any:
    """Return a connection of the pool, which is connected."""
    return pool.get_connection(*_NAMED)


def disconnect_idle(pool: Any) -> None:
    """Disconnect the connections that nobody uses; before 7, `pool.disconnect` ends all."""
    for connection in list(pool.pool.queue):
        # The pool keeps None for each connection that it has not made yet.
        if connection is not None:
            connection.disconnect()


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
