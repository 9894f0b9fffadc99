"""An example under gunicorn, with a database of its own, for page tests and pictures."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.support.processes import Process
from tests.support.servers import Gunicorn
from tests.support.waiting import wait_until

PASSWORD = "correct horse"
#: The width of a phone, and its height.
PHONE = (390, 844)


def environment(name: str, redis_url: str, prefix: str, directory: Path) -> dict[str, str]:
    """Return the variables that configure the example."""
    return {
        "FLASK_REDIS_EVENTS_URL": redis_url,
        "FLASK_REDIS_EVENTS_PREFIX": prefix,
        "FLASK_SECRET_KEY": "for these tests",
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{directory / name}.sqlite",
    }


def serve(name: str, env: dict[str, str]) -> Gunicorn:
    return Gunicorn(f"examples.{name}.app:create_app()", env=env)


def sign_up(page: webdriver.Chrome, url: str, name: str) -> None:
    """Make an account with the form, and arrive at the page that was asked for."""
    page.get(url)
    page.find_element(By.LINK_TEXT, "Sign up").click()
    fill_in(page, name)
    # The driver does not wait for the page to which a key leads.
    wait_until(lambda: page.find_elements(By.CLASS_NAME, "user"), 30)


def fill_in(page: webdriver.Chrome, name: str, password: str = PASSWORD) -> None:
    page.find_element(By.NAME, "name").send_keys(name)
    page.find_element(By.NAME, "password").send_keys(password, "\n")


def wait_live(page: webdriver.Chrome) -> None:
    wait_until(lambda: state(page) == "live", 30, lambda: f"state {state(page)!r}")


def state(page: webdriver.Chrome) -> str | None:
    """Return what the light in the header shows."""
    found: str | None = page.execute_script(
        "return document.getElementById('connection')?.dataset.state"
    )
    return found


def emulate(page: webdriver.Chrome, *, phone: bool = False, dark: bool = False) -> None:
    """Show the page as on a phone, or to a user who prefers dark colours."""
    width, height = PHONE if phone else (1100, 720)
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = {"prefers-color-scheme": "dark" if dark else "light"}
    # Without transitions, of which a picture would show the midst.
    features["prefers-reduced-motion"] = "reduce"
    given = [{"name": name, "value": value} for name, value in features.items()]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": given})


def overflow(page: webdriver.Chrome) -> int:
    """Return by how many pixels the page is wider than its window."""
    script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.execute_script(script))


def errors(page: webdriver.Chrome) -> list[str]:
    """Return what the console says of failures, refusals by the policy among them."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def worker(name: str, env: dict[str, str], directory: Path) -> Process:
    """Return the process that runs beside the example's web workers, not yet started."""
    command = [sys.executable, "-m", f"examples.{name}.worker"]
    return Process(command, directory / f"{name}-worker.log", {**os.environ, **env})
