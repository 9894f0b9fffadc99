"""A PostgreSQL of the tests' own, in a directory that goes with it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.processes import Process, free_port
from tests.support.waiting import wait_until


def binaries() -> Path | None:
    """Return the directory of the newest server's programs: Debian's, or one on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    newest = found[-1] if found else Path(on_path).resolve() if on_path else None
    return None if newest is None else newest.parent


class Postgres:
    """A server on loopback, without a password; a context manager."""

    def __init__(self) -> None:
        programs = binaries()
        if programs is None:
            raise RuntimeError("These tests need PostgreSQL (Debian: postgresql).")
        self.port = free_port()
        self.url = f"postgresql+psycopg://tests@127.0.0.1:{self.port}/postgres"
        self._directory = Path(tempfile.mkdtemp(prefix="redis-events-postgres-"))
        self._as_user: list[str] = []
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root; its package makes this user.
            user = pwd.getpwnam("postgres")
            os.chown(self._directory, user.pw_uid, user.pw_gid)
            ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            self._as_user = ["setpriv", *ids]
        self._data = self._directory / "data"
        self._initdb = [
            *(*self._as_user, str(programs / "initdb"), "--pgdata", str(self._data)),
            *("--username=tests", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"),
        ]
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_prepared_transactions": "20",
            "fsync": "off",
        }
        options = [part for pair in settings.items() for part in ("-c", "=".join(pair))]
        command = [*self._as_user, str(programs / "postgres"), "-D", str(self._data)]
        self._process = Process(
            [*command, "-p", str(self.port), *options],
            self._directory / "log",
            os.environ,
        )

    def __enter__(self) -> Self:
        try:
            subprocess.run(self._initdb, cwd=self._directory, check=True, capture_output=True)
            self._process.start()
            wait_until(
                lambda: "ready to accept connections" in self._process.log,
                20,
                lambda: f"PostgreSQL did not start:\n{self._process.log}",
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server at once, and remove its directory.  Idempotent."""
        self._process.end(signal.SIGINT)
        shutil.rmtree(self._directory, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server that the tests of a module share."""
    if binaries() is None:
        missing = "These tests need PostgreSQL (Debian: postgresql)."
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with Postgres() as server:
        yield server
