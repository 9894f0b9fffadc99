"""Commands and scripts on the broker's own connections, tried again while Redis is away.

The application's own client is never used; if one is given, only its connection settings are
copied.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError

from ..concurrency import Deadline, backoff
from .calls import Calls, Slot
from .command_pool import CommandPool
from .connections import REFUSED, UNREACHABLE, broker_error, connection_settings, translated
from .scripts import Scripts
from .versions import pack

#: Seconds for which a command is tried again before it raises.
PATIENCE = 10.0

Command = Sequence[Any]


class Process:
    """The state of one process: a forked child must not write to its parent's sockets."""

    def __init__(self, connection_class: type[Any], settings: dict[str, Any]) -> None:
        self.pool = CommandPool(lambda: connection_class(**settings), PATIENCE)
        self.calls = Calls()
        #: Held while the channels of a client's patterns are looked for.
        self.searching = threading.Lock()
        #: Whether Redis has shown that its keys have the layout of this version.
        self.checked = False


class Commands:
    """Executes commands.  Every method raises `BrokerError`."""

    def __init__(self, url: str, client: object, scripts: Scripts) -> None:
        # A reference, because the connections of a Sentinel client ask its pool for the master, and
        # refer to that pool weakly.
        self._given = client
        self._connection_class, self._settings = connection_settings(url, client)
        self._processes: dict[int, Process] = {}
        self._scripts = scripts
        #: How many connections `connect` has made.
        self.opened = 0

    @property
    def process(self) -> Process:
        """The state of this process."""
        pid = os.getpid()
        if pid not in self._processes:
            # Two threads may both make one; `setdefault` is atomic and keeps the first, and the
            # other has not connected.
            self._processes.setdefault(pid, Process(self._connection_class, self._settings))
        return self._processes[pid]

    def slot(self) -> Slot:
        """Return a slot for one call of `publish.lua`."""
        return self.process.calls.slot()

    def connect(self, name: str) -> Any:
        """Return a new connection, which belongs to the caller; `CLIENT LIST` shows the name.

        Commands use no connection any more that was made before it: that may lead to a master which
        was cut off and does not know yet that it is none.
        """
        connection = self._connection_class(**self._settings)
        with translated():
            connection.connect()
            self.process.pool.disconnect()
            self.opened += 1
            connection.send_command("CLIENT", "SETNAME", name, check_health=False)
            # Redis may lack the command or forbid it, and the name is for people only.
            _read(connection)
        return connection

    def run(self, script: str, keys: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """Run a Lua script of this package."""
        digest = self._scripts.digests[script]
        [reply] = self.execute([["EVALSHA", digest, len(keys), *keys, *arguments]])
        return reply

    def execute(self, commands: Sequence[Command], *, tries: int | None = None) -> list[Any]:
        """Execute commands in one round trip, and again after connection errors.

        `PATIENCE` and `tries` limit the attempts.  A refusal is raised at once.
        """
        pool = self.process.pool
        deadline = Deadline(PATIENCE)
        attempt = 0
        while True:
            try:
                return _execute(pool, commands, self._scripts, sure=tries == 1)
            except (*UNREACHABLE, ReadOnlyError) as error:
                # After a failover, idle connections lead to a server that is no master any more.
                pool.disconnect()
                attempt += 1
                if attempt == tries or deadline.passed or isinstance(error, REFUSED):
                    raise broker_error(error) from error
            except RedisError as error:
                raise broker_error(error) from error
            time.sleep(backoff(attempt))

    def close(self) -> None:
        for process in self._processes.values():
            process.pool.disconnect()


def _execute(
    pool: CommandPool, commands: Sequence[Command], scripts: Scripts, *, sure: bool
) -> list[Any]:
    """Execute commands; if the server lacks the script of one, load all and execute them again.

    Only single commands run a script, so that none of them is executed twice.
    """
    try:
        return _exchange(pool, commands, sure=sure)
    except NoScriptError:
        # On one connection: another one may lead to another server, as in a failover.
        load = [["SCRIPT", "LOAD", text] for text in scripts.texts.values()]
        return _exchange(pool, [*load, *commands], sure=sure)[len(load) :]


def _exchange(pool: CommandPool, commands: Sequence[Command], *, sure: bool) -> list[Any]:
    """Send commands on one connection and read the replies; raise the first error among them.

    This goes round the client of redis-py, whose bookkeeping takes longer than all of our own.
    """
    with pool.lend(sure=sure) as connection:
        connection.send_packed_command(pack(connection, commands), check_health=False)
        replies = [_read(connection) for _ in commands]
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        # Redis 6.2 wraps what a script was told on a replica, and redis-py knows its class no more.
        return ReadOnlyError(str(error)) if " -READONLY " in str(error) else error
