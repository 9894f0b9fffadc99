"""The work: make a large file and hash it, as a run that says how far it is."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from typing import IO

from flask_redis_events import RedisEvents

events = RedisEvents()

MEGABYTE = 1024 * 1024
#: Seconds for which a job, and all that its pages show, is kept after its end.
KEPT = 24 * 3600


def hash_file(id: str, megabytes: int, *, broken: bool = False) -> None:
    """Hash a file of random bytes; a `broken` disk keeps only half of it."""
    digest = hashlib.sha3_512()
    percent = -1
    with events.run(channel(id), ttl=KEPT, lease=10) as run, tempfile.TemporaryFile() as file:
        try:
            for done, step in enumerate(_steps(file, megabytes, digest, broken), start=1):
                # At most a hundred events, however large the file is: a page shows no more.
                if percent < (percent := 100 * done // (2 * megabytes)):
                    run.send({"step": step, "percent": percent})
                if run.stop_requested:
                    return  # the run ends as "stopped"
        except OSError as error:
            # The run ends as "failed", without the error's text: it may not be for its viewers.
            run.send({"problem": str(error)})
            raise
        run.send({"digest": digest.hexdigest()})


def _steps(file: IO[bytes], megabytes: int, digest: hashlib._Hash, broken: bool) -> Iterator[str]:
    """Write and then hash the file, a megabyte in each step."""
    for _ in range(megabytes):
        file.write(os.urandom(MEGABYTE))
        yield "Writing"
    if broken:
        file.truncate(megabytes * MEGABYTE // 2)
    file.seek(0)
    for _ in range(megabytes):
        block = file.read(MEGABYTE)
        if len(block) < MEGABYTE:
            raise OSError("The file is shorter than it was.")
        digest.update(block)
        yield "Hashing"


def channel(id: str) -> str:
    return f"job:{id}"
