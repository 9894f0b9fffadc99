"""A Firefox, driven by its own remote protocol, because Debian has no geckodriver.

Marionette's messages are JSON behind their length: `[0, id, command, parameters]`, answered with
`[1, id, error, result]`.  The methods have the names of selenium's.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from tests.support.processes import Process, free_port
from tests.support.waiting import wait_until

#: Marionette itself turns off all that a browser asks the network for on its own.
PREFERENCES = {"marionette.port": 0, "browser.shell.checkDefaultBrowser": False}


class Firefox:
    """A Firefox without a window."""

    def __init__(self, binary: str, directory: Path) -> None:
        port = free_port()
        profile = directory / "profile"
        profile.mkdir(parents=True)
        (profile / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in {**PREFERENCES, "marionette.port": port}.items()
            )
        )
        command = [binary, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        # Firefox writes into the home directory, whatever its profile is.
        env = {**os.environ, "HOME": str(directory)}
        self._process = Process(command, directory / "firefox.log", env)
        self._count = 0
        self._process.start()
        try:
            self._socket = wait_until(
                lambda: self._connect(port), 60, lambda: f"No answer:\n{self._process.log}"
            )
            self._file = self._socket.makefile("rb")
            self._receive()
            self._call("WebDriver:NewSession", capabilities={})
        except BaseException:
            self._process.end(signal.SIGKILL)
            raise

    def get(self, url: str) -> None:
        self._call("WebDriver:Navigate", url=url)

    def back(self) -> None:
        self._call("WebDriver:Back")

    def execute_script(self, script: str) -> Any:
        return self._call("WebDriver:ExecuteScript", script=script, args=[])["value"]

    def quit(self) -> None:
        self._file.close()
        self._socket.close()
        self._process.end(signal.SIGTERM)

    def _connect(self, port: int) -> socket.socket | None:
        self._process.check()
        try:
            return socket.create_connection(("127.0.0.1", port), 60)
        except OSError:
            return None

    def _call(self, command: str, **parameters: Any) -> Any:
        self._count += 1
        text = json.dumps([0, self._count, command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._receive()
        if error:
            raise RuntimeError(f"{command}: {error['error']}: {error['message']}")
        return result

    def _receive(self) -> Any:
        length = b""
        while (byte := self._file.read(1)) != b":":
            if not byte:
                raise RuntimeError(f"Firefox is gone:\n{self._process.log}")
            length += byte
        return json.loads(self._file.read(int(length)))
