"""The Redis of each world: a lasting one, a pair that fails over, or a pair behind Sentinels."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import redis

from tests.support.relay import Relay
from tests.support.sentinel import SentinelTrio
from tests.support.servers import RedisServer
from tests.support.travel import TravellingRedis
from tests.support.waiting import wait_until

#: Seconds that Sentinels may take to fail over.  A busy machine makes them slow, which is no fault.
MOST = 150.0


class Store(Protocol):
    """What everybody connects to."""

    #: What clients, emitters and workers are given.
    url: str
    sentinels: str
    #: When the replica became everybody's master, as a Unix time.
    failed_over_at: float

    @property
    def master(self) -> RedisServer: ...

    def replicated(self) -> None:
        """Wait until a failover would lose nothing."""

    def has_changed(self) -> bool:
        """Say whether there was a failover that nobody has caused; then wait until it is over."""

    def failing_over(self) -> contextlib.AbstractContextManager[None]:
        """Keep what happens inside the block from the replica, which then becomes the master."""


class Lasting:
    """One Redis with an append-only file."""

    sentinels = ""
    failed_over_at = 0.0

    def __init__(self, directory: Path, running: contextlib.ExitStack) -> None:
        self.master = running.enter_context(RedisServer(directory, appendonly=True))
        self.url = self.master.url

    def replicated(self) -> None: ...

    def has_changed(self) -> bool:
        return False

    def failing_over(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError("It has no replica.")


class Pair:
    """A master and a replica behind one address; a clock of its own for each."""

    sentinels = ""
    failed_over_at = 0.0

    def __init__(self, directory: Path, running: contextlib.ExitStack) -> None:
        servers = []
        for name in ("one", "two"):
            (directory / name).mkdir()
            servers.append(running.enter_context(TravellingRedis(directory / name)))
        self._one, two = servers
        self.master, self._replica = self._one, two
        self._directory = directory
        self._relay = running.enter_context(Relay(self.master.port))
        self.url = self._relay.url
        self._attach()

    def replicated(self) -> None:
        with redis.Redis.from_url(self.master.url) as client:
            wait_until(lambda: _follows(client), 20)

    def has_changed(self) -> bool:
        return False

    @contextlib.contextmanager
    def failing_over(self) -> Iterator[None]:
        self.replicated()
        with redis.Redis.from_url(self._replica.url) as client:
            client.replicaof("NO", "ONE")
        yield
        self.master, self._replica = self._replica, self.master
        self._relay.lead_to(self.master.port)
        self.failed_over_at = time.time()
        self._replica.travel(-self._replica.travelled)
        self._attach()

    def restart_empty(self) -> None:
        """Restart the master without its data."""
        self.master.stop(signal.SIGKILL)
        # A replica keeps what it is sent first in a file.
        self._snapshot.unlink(missing_ok=True)
        self.master.start()
        self._attach()

    @contextlib.contextmanager
    def going_back(self) -> Iterator[None]:
        """Restart the master with the data that it had before the block."""
        with redis.Redis.from_url(self.master.url) as client:
            client.save()
        yield
        self.master.restart(signal.SIGKILL)
        self.failed_over_at = time.time()
        self._attach()

    @property
    def _snapshot(self) -> Path:
        return self._directory / ("one" if self.master is self._one else "two") / "dump.rdb"

    def _attach(self) -> None:
        with redis.Redis.from_url(self.master.url) as client:
            # By default a master waits for further replicas before it sends its data.
            client.config_set("repl-diskless-sync-delay", 0)
        with redis.Redis.from_url(self._replica.url) as client:
            client.replicaof("127.0.0.1", str(self.master.port))
        self.replicated()


class Watched:
    """A master and a replica, and three Sentinels that lead to the master."""

    failed_over_at = 0.0

    def __init__(self, directory: Path, running: contextlib.ExitStack) -> None:
        self._trio = running.enter_context(SentinelTrio(directory, patience=3, most=MOST))
        self.sentinels = json.dumps(self._trio.addresses)
        self.url = self.master.url

    @property
    def master(self) -> RedisServer:
        return self._trio.master

    def replicated(self) -> None:
        with redis.Redis.from_url(self.master.url) as client:
            wait_until(lambda: _follows(client), 20)

    def has_changed(self) -> bool:
        # On a machine that stalls the Sentinels fail over by themselves.
        before = self.master
        wait_until(self._trio.agree, 4 * MOST)
        return self.master is not before

    def fail_over_from_frozen(self) -> None:
        """Freeze the master until Sentinel has made the replica the master."""
        self._trio.fail_over_from_frozen()
        self.failed_over_at = time.time()

    @contextlib.contextmanager
    def failing_over(self) -> Iterator[None]:
        self.replicated()
        self._trio.hold_replica_back()
        yield
        self._trio.fail_over_to_what_lags()
        self.failed_over_at = time.time()
        self._trio.take_back()


def _follows(client: redis.Redis) -> bool:
    """Say whether a replica has all that the master has at this moment."""
    state = client.info("replication")
    if not state["connected_slaves"] or state["slave0"]["state"] != "online":
        return False
    return bool(client.wait(1, 100)) if _writes(client) else False


def _writes(client: redis.Redis) -> bool:
    # WAIT counts what this connection wrote.
    return bool(client.set("replicated", time.time_ns()))
