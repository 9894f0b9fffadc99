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
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.docs.blocks import Block
from tests.support.processes import ROOT, Process, free_port
from tests.support.waiting import wait_until

#: Commands that only prepare those that follow on the page.
_PREPARES = ("cd ", "export ", ". ")
#: Commands that go on for as long as their terminal is open.
_SERVERS = r"flask (run|redis-events watch)|gunicorn|celery|rq worker|curl -N|(\w+=\S+ )+flask run"
#: What differs each time: "…" on the page stands for any text.
_VARIES = [
    (r"\d{13}\\-\d+", r"\\d{13}-\\d+"),
    (r"[\d.\\]+\\ ms", r"[\\d.]+ ms"),
    (r"(\\?\s)+", r"\\s+"),
    ("…", ".*?"),
]


class Walk:
    """One reader: a directory, and the terminals in which commands still run; a context manager.

    The ports 5000 and 8000 are others here, so that walks may go side by side.
    """

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        bins = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self._env = {**os.environ, "PATH": bins, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._env |= {"FLASK_RUN_PORT": str(self.port), "PWD": str(directory), **env}
        #: Texts of the page, and what stands for them here.
        self.replace = {f"127.0.0.1:{port}": f"127.0.0.1:{self.port}" for port in (5000, 8000)}
        self.running: list[Process] = []

    def follow(self, block: Block) -> None:
        """Write the file that the block is, or run the commands that it has."""
        if block.language in ("console", "bash"):
            for command, shown in _commands(block.text):
                self.run(command, shown)
        elif block.caption:
            self.write(block.caption, block.text)

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

    def run(self, command: str, shown: str = "") -> None:
        """Run a command until it has ended, or has shown its output and goes on as a server."""
        if command.startswith(_PREPARES):
            self._prepare(self._ours(command))
            return
        process = self.start(command)
        expected = _pattern(self._ours(shown))

        def is_done() -> bool:
            if process.running:
                is_server = re.match(_SERVERS, command) and (shown or self._answers())
                return bool(is_server and re.search(expected, process.log))
            assert process.wait(0) == 0, f"{command}\n{process.log}"
            return True

        wait_until(is_done, 120, lambda: f"{command}\n{process.log}\ndoes not match {expected}")
        assert re.search(expected, process.log), f"{command}\n{process.log}\nnot as in {shown}"

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
            process.end(signal.SIGINT)
        self.running.clear()

    def _prepare(self, command: str) -> None:
        """Run a command for what it changes in the terminal: directory and environment."""
        script = f"cd {self._env['PWD']}\n{command}\nenv -0"
        done = subprocess.run(
            ["bash", "-ec", script], env=self._env, capture_output=True, text=True, check=True
        )
        self._env = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

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


def _commands(text: str) -> list[tuple[str, str]]:
    """Return the commands of a block, without their comments, each with the output after it.

    A block without prompts, which can be copied as it is, has only commands.
    """
    if not text.startswith("$ "):
        return [(line, "") for line in text.splitlines() if line]
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)
    return [(re.sub(r"  +# .*", "", command), shown) for command, shown in found]


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
