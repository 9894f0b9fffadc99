"""What the machine tells of a process, and which part of the machine is whose."""

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

#: The core of the server under test, and that of all others.
SERVER_CORE, OTHER_CORE = 0, 1


def pin() -> None:
    """Put this process, and those that it starts, on the core that is not the server's."""
    os.sched_setaffinity(0, {OTHER_CORE})


def pinned(command: list[str]) -> list[str]:
    """Return a command that runs on the server's core."""
    return ["taskset", "--cpu-list", str(SERVER_CORE), *command]


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process, all its threads, to the nanosecond where possible."""
    # /proc/<pid>/stat counts in ticks of 10 ms; this is what it is rounded from.
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    nanoseconds = sum(int(task.read_text().split()[0]) for task in tasks)
    if nanoseconds:
        return nanoseconds / 1e9
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def memory(pid: int) -> int:
    """Return the bytes of memory that a process has, pages that it shares counted in part (PSS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def connections() -> int:
    """Return how many files a process may have open, and leave some for other things."""
    return allow_files(100_000) - 2000


def description() -> dict[str, Any]:
    """Say what this machine is."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "commit": commit(),
    }


def commit(directory: Path = ROOT) -> str:
    """Return the commit of a checkout, "" where there is none."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def versions(redis: RedisServer) -> dict[str, str]:
    """Say what takes part, in which version."""
    names = ("Flask-Redis-Events", "flask", "gevent", "gunicorn", "redis", "hiredis")
    found = {name: metadata.version(name) for name in names}
    info: Any = redis.client().info("server")
    found["redis-server"] = info["redis_version"]
    if nginx := shutil.which("nginx"):
        said = subprocess.run([nginx, "-v"], check=True, capture_output=True, text=True).stderr
        found["nginx"] = said.strip().rpartition("/")[2]
    return found | dict(name.split("==", 1) for name in competitors.THEIRS)
