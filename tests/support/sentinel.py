"""Three real Sentinels that watch a master and its replica."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.sentinel import MasterNotFoundError, Sentinel

from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer, redis_binary
from tests.support.waiting import wait_until

NAME = "main"


class SentinelTrio:
    """A master, a replica and three sentinels; a context manager.

    The sentinels take a master for lost that does not answer for `patience` seconds, and may take
    `most` seconds to fail over, which is long on a busy machine.
    """

    def __init__(self, directory: Path, *, patience: float = 1, most: float = 30) -> None:
        self._patience = patience
        self._most = most
        self._directory = directory
        self._cleanup = ExitStack()
        self.ports: list[int] = []
        self.master: RedisServer
        self.replica: RedisServer

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", port) for port in self.ports]

    def client(self) -> redis.Redis:
        """Return a client that asks the Sentinels for the master."""
        sentinel = Sentinel(self.addresses, socket_timeout=0.5)
        for one in sentinel.sentinels:
            self._cleanup.callback(one.close)
        client: redis.Redis = sentinel.master_for(NAME, socket_timeout=1)
        self._cleanup.callback(client.close)
        return client

    def master_port(self) -> int | None:
        """Return the master's port, as the first sentinel knows it."""
        with redis.Redis(port=self.ports[0]) as client:
            try:
                found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
            except (redis.RedisError, MasterNotFoundError):
                return None
        return int(found[1]) if found else None

    def fail_over(self, number: int = signal.SIGKILL) -> None:
        """Kill the master, and return when the replica has become the master."""
        self.master.stop(number)
        wait_until(lambda: self.master_port() == self.replica.port, self._most)
        client = self.replica.client()
        wait_until(lambda: client.role()[0] == b"master", self._most)

    def hold_replica_back(self) -> None:
        """Keep new writes from the replica until the failover."""
        self.replica.pause()
        # The stopped process would later read data in its socket, so the connection is cut, too.
        self.master.client().client_kill_filter(_type="slave")

    def fail_over_to_what_lags(self) -> None:
        """Kill the master, and return when the replica, without those writes, has become it."""
        self.master.stop(signal.SIGKILL)
        self.replica.resume()
        self.fail_over()

    def fail_over_from_frozen(self) -> None:
        """Freeze the master until the replica is the master; then it finds out."""
        self.master.pause()
        wait_until(lambda: self.master_port() == self.replica.port, self._most)
        self.master.resume()
        self._change_places()

    def take_back(self) -> None:
        """Start the server that was lost as the replica of the new master."""
        self.master.start()
        self.master.client().replicaof("127.0.0.1", str(self.replica.port))
        self._change_places()

    def _change_places(self) -> None:
        """Wait until the lost master follows the new one."""
        # A master that was frozen learns only after a while that it is none any more; and on a slow
        # machine the Sentinels may fail over once more.
        wait_until(self.agree, 4 * self._most)

    def agree(self) -> bool:
        """Say whether all Sentinels know who is the master, and that the other one follows it."""
        if self.master_port() == self.replica.port:
            self.master, self.replica = self.replica, self.master
        return all(_leads(port, self.master.port, self.replica.port) for port in self.ports)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        self.master = self._redis("master")
        self.replica = self._redis("replica", "--replicaof", f"127.0.0.1 {self.master.port}")
        client = self.replica.client()
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", 20)
        for number in range(3):
            self._sentinel(number)
        for port in self.ports:
            with redis.Redis(port=port) as sentinel:
                wait_until(lambda: _sees_all(sentinel), 20)

    def _redis(self, name: str, *arguments: str) -> RedisServer:
        directory = self._directory / name
        directory.mkdir()
        # By default a master waits for further replicas before it sends its data.
        quick = ("--repl-diskless-sync-delay", "0")
        server = RedisServer(directory, arguments=[*quick, *arguments])
        return self._cleanup.enter_context(server)

    def _sentinel(self, number: int) -> None:
        port = free_port()
        directory = self._directory / f"sentinel{number}"
        directory.mkdir()
        config = directory / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {directory}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.master.port} 2\n"
            f"sentinel down-after-milliseconds {NAME} {self._patience * 1000:.0f}\n"
            f"sentinel failover-timeout {NAME} 5000\n"
        )
        binary = redis_binary()
        assert binary
        process = Process([binary, str(config), "--sentinel"], directory / "log", os.environ)
        process.start()
        self._cleanup.callback(process.end, signal.SIGTERM)
        with redis.Redis(port=port) as client:
            wait_until(lambda: _answers(client), 10)
        self.ports.append(port)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _leads(port: int, master: int, replica: int) -> bool:
    """Say whether a sentinel leads to the master, and would fail over to the replica."""
    with redis.Redis(port=port) as sentinel:
        state: Any = sentinel.sentinel_master(NAME)
        replicas = [each for each in sentinel.sentinel_slaves(NAME) if each["port"] == replica]
    ready = [each for each in replicas if each["master-link-status"] == "ok"]
    return state["port"] == master and bool(ready) and not ready[0]["is_sdown"]


def _sees_all(sentinel: redis.Redis) -> bool:
    """Say whether a sentinel knows the replica and the two other sentinels."""
    state: Any = sentinel.sentinel_master(NAME)
    return state["num-slaves"] == 1 and state["num-other-sentinels"] == 2
