"""A reader who follows a page: its files are written, its commands run, their output compared."""

from __future__ import annotations

import ast
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.docs.blocks import Block
from tests.support.processes import ROOT, Process, free_port
from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

#: Commands that only prepare those that follow on the page.
_PREPARES = ("cd ", "export ", ". ")
#: Commands that go on for as long as their terminal is open.
_SERVERS = r"flask (run|redis-events watch)|gunicorn|celery|rq worker|curl -N|(\w+=\S+ )+flask run"
#: What differs each time: "…" on the page stands for any text.
_VARIES = [
    (r"\d{13}\\-\d+", r"\\d{13}-\\d+"),
    (r"[\d.\\]+\\ ms", r"[\\d.]+ ms"),
    (r"[\d.\\]+s\b", r"[\\d.]+s"),
    (r"(\\?\s)+", r"\\s+"),
    ("…", ".*?"),
]


class Walk:
    """One reader: a directory, and the terminals in which commands still run; a context manager.

    The ports 5000 and 8000 are others here, so that walks may go side by side.
    """

    def __init__(self, directory: Path, redis: RedisServer, **env: str) -> None:
        self.directory = directory
        self._redis = redis.client()
        self._ports = {5000: free_port(), 8000: free_port()}
        #: The addresses of `flask run` and of gunicorn.
        self.flask, self.gunicorn = (f"http://127.0.0.1:{port}" for port in self._ports.values())
        bins = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._env = {
            **os.environ,
            "PATH": bins,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PWD": str(directory),
            "FLASK_RUN_PORT": str(self._ports[5000]),
            "GUNICORN_CMD_ARGS": f"--bind 127.0.0.1:{self._ports[8000]}",
            "FLASK_REDIS_EVENTS_URL": redis.url,
            "CURL_HOME": str(directory),
            **env,
        }
        # In a terminal curl shows no progress; here it would.
        (directory / ".curlrc").write_text("silent\nshow-error\n")
        #: Texts of the page, and what stands for them here.
        self.replace = {f"127.0.0.1:{port}": f"127.0.0.1:{p}" for port, p in self._ports.items()}
        self.replace["redis://localhost:6379/0"] = redis.url
        self.replace["redis-cli"] = f"redis-cli -p {redis.port}"
        self.running: list[Process] = []
        #: The servers that run, by the ports that they have on the page.
        self.servers: dict[int, Process] = {}
        self._shown: list[Process] = []
        self._expected: list[tuple[list[Process], str]] = []

    def follow(self, block: Block) -> None:
        """Write the file that the block is, or run the commands that it has."""
        if block.language == "bash":
            self._shown = [log for command in _commands(block.text) if (log := self.run(command))]
        elif block.caption:
            self.write(block.caption, block.text)
        elif block.is_shown:
            self.expect(block.text)

    def write(self, caption: str, text: str) -> None:
        """Write a file; its caption may go on with ", at the end" or ", in place of `name`"."""
        name, _, where = caption.partition(", ")
        path = self.directory / self._ours(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if where == "at the end":
            text = f"{path.read_text('utf-8')}\n\n{text}"
        elif where:
            text = _replaced(path.read_text("utf-8"), where.split("`")[1], text)
        path.write_text(self._ours(text), "utf-8")

    def run(self, command: str) -> Process | None:
        """Run a command until it has ended, or until it serves; return it, unless it prepares."""
        if command.startswith(_PREPARES):
            self._prepare(self._ours(command))
            return None
        port = 5000 if "flask run" in command else 8000 if command.startswith("gunicorn") else 0
        if port in self.servers:
            self.check()
            _interrupt(self.servers.pop(port))
        process = self.start(command)
        if port:
            self.servers[port] = process
        if re.match(_SERVERS, command):
            wait_until(lambda: self._serves(process, command, port), 60, lambda: process.log)
        else:
            assert process.wait(120) == 0, f"{command}\n{process.log}"
        return process

    def expect(self, shown: str) -> None:
        """Note what the last commands show; a server may show it only when others have run."""
        self._expected.append((self._shown, shown))
        if not any(process.running for process in self._shown):
            self.check()

    def check(self) -> None:
        """Compare what the commands have shown with the page."""
        for processes, shown in self._expected:
            pattern = _pattern(self._ours(shown))

            def log(processes: Sequence[Process] = processes) -> str:
                return "".join(process.log for process in processes)

            def is_shown(pattern: str = pattern, log: Callable[[], str] = log) -> bool:
                return re.search(pattern, log()) is not None

            wait_until(is_shown, 30, f"{log()}\n--- is not yet as on the page:\n{shown}")
        self._expected.clear()

    def _serves(self, process: Process, command: str, port: int) -> bool:
        process.check()
        if "watch" in command:
            return bool(self._redis.pubsub_channels() or self._redis.pubsub_numpat())
        with socket.socket() as probe:
            return (
                probe.connect_ex(("127.0.0.1", self._ports[port])) == 0
                if port
                else bool(process.log)
            )

    def start(self, command: str) -> Process:
        """Start a command, in a terminal of its own."""
        log = self.directory / f".terminal-{len(self.running)}-{time.monotonic_ns()}"
        script = f"cd {self._env['PWD']}\n{self._ours(command)}"
        process = Process(["bash", "-c", script], log, self._env)
        process.start()
        self.running.append(process)
        return process

    def stop(self) -> None:
        """End the commands that still run, as Ctrl-C does."""
        for process in self.running:
            print(process.log)  # pytest shows it, if the test fails
            _interrupt(process)
        self.running.clear()
        self.servers.clear()

    def _prepare(self, command: str) -> None:
        """Run a command for what it changes in the terminal: directory and environment."""
        script = f"cd {self._env['PWD']}\n{command}\nenv -0"
        done = subprocess.run(
            ["bash", "-ec", script], env=self._env, capture_output=True, text=True, check=True
        )
        self._env = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)

    def _ours(self, text: str) -> str:
        for theirs, ours in self.replace.items():
            text = text.replace(theirs, ours)
        return text

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _interrupt(process: Process) -> None:
    """End a command as Ctrl-C does, which signals all processes of the terminal.  Idempotent."""
    if not process.running:
        return
    for child in process.children():
        with suppress(psutil.NoSuchProcess):
            child.send_signal(signal.SIGINT)
    process.end(signal.SIGINT)


def _commands(text: str) -> list[str]:
    """Return the commands of a block, without comments."""
    lines = text.replace("\\\n", "").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|  +)# .*", "", line))]


def _pattern(shown: str) -> str:
    pattern = re.escape(shown.strip())
    for varies, matches in _VARIES:
        pattern = re.sub(varies, matches, pattern)
    return f"(?s){pattern}"


def _replaced(source: str, name: str, text: str) -> str:
    """Return the module with the text in place of the function, or the import, of this name."""
    for node in ast.parse(source).body:
        if name in (getattr(node, "name", ""), getattr(node, "module", "")):
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
            lines = source.splitlines(keepends=True)
            return "".join([*lines[: first - 1], text, *lines[node.end_lineno :]])
    raise LookupError(f"There is no {name} to replace.")
