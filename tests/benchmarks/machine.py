"""The machine: the CPU time and memory of processes, and which core they run on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from flask_redis_events.bench.limits import allow_files
from tests.support.processes import ROOT
from tests.support.servers import RedisServer

from . import competitors

#: The core of the server under test, and the core of everything else.
SERVER_CORE, OTHER_CORE = 0, 1


def pin() -> None:
    """Put this process, and those that it starts, on the other core."""
    os.sched_setaffinity(0, {OTHER_CORE})


def pinned(command: list[str]) -> list[str]:
    """Return a command that runs on the server's core."""
    return ["taskset", "--cpu-list", str(SERVER_CORE), *command]


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of all threads of a process, to the nanosecond if possible."""
    # /proc/<pid>/stat has the same times, but rounded to ticks of 10 ms.
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    nanoseconds = sum(int(task.read_text().split()[0]) for task in tasks)
    if nanoseconds:
        return nanoseconds / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def memory(pid: int) -> int:
    """Return a process's memory in bytes; shared pages are divided among their users (PSS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def connections() -> int:
    """Return how many connections a process may open, with files left for other uses."""
    return allow_files(100_000) - 2000


def description() -> dict[str, Any]:
    """Return a description of this machine."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "commit": _commit(),
    }


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def versions(redis: RedisServer) -> dict[str, str]:
    """Return the versions of all software that takes part."""
    names = ("Flask-Redis-Events", "flask", "gevent", "gunicorn", "redis", "hiredis")
    found = {name: metadata.version(name) for name in names}
    info: Any = redis.client().info("server")
    found["redis-server"] = info["redis_version"]
    if nginx := shutil.which("nginx"):
        said = subprocess.run([nginx, "-v"], check=True, capture_output=True, text=True).stderr
        found["nginx"] = said.strip().rpartition("/")[2]
    return found | dict(name.split("==", 1) for name in competitors.THEIRS)
