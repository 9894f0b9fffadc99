"""The layout: its policy, its files, and pages for what fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from tests.support.processes import ROOT

from .conftest import HTML, JSON, MakeApp, user
from .staging import environment

STATIC = ROOT / "examples" / "layout" / "static"
CONFIGURATIONS = sorted((ROOT / "examples").glob("*/gunicorn.conf.py"))


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app("notifications")


def test_each_page_has_a_nonce_of_its_own(app: Flask):
    """The policy names the nonce that the scripts of the page have, and allows no inline style."""
    ada = user(app, "ada")
    nonces = set()
    for _ in range(2):
        page = ada.get("/", headers=HTML)
        policy = page.headers["Content-Security-Policy"]
        [nonce] = re.findall(r"script-src 'nonce-([^']+)';", policy)
        nonces.add(nonce)

        scripts = re.findall("<script[^>]*>", page.text)
        assert len(scripts) == 2
        assert all(f'nonce="{nonce}"' in script for script in scripts)
        assert "unsafe" not in policy
        assert "style=" not in page.text
    assert len(nonces) == 2


def test_all_files_are_served(app: Flask):
    """The page's files come from this server, with Pico's licence beside it."""
    page = user(app, "ada").get("/", headers=HTML).text
    files = re.findall(r'(?:href|src)="(/[^"]*\.\w+)"', page)

    assert len(files) == 5
    for file in files:
        with app.test_client().get(file) as response:
            assert response.status_code == 200
    assert "MIT License" in (STATIC / "pico.LICENSE.md").read_text()


def test_failures_are_pages_or_json(app: Flask):
    """A page shows what failed, with a way back; a script gets the text."""
    page = app.test_client().get("/nowhere", headers=HTML)
    answer = app.test_client().get("/nowhere", headers=JSON)

    assert (page.status_code, answer.status_code) == (404, 404)
    assert 'href="/"' in page.text
    assert set(answer.json or ()) == {"error"}


def test_a_refusal_keeps_its_headers(app: Flask):
    """A method that a path does not have is answered with those that it has."""
    for headers in (HTML, JSON):
        answer = app.test_client().get("/sign-out", headers=headers)

        assert answer.status_code == 405
        assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_gunicorn_takes_the_configuration(path: Path, tmp_path: Path):
    """The command of the README finds the application."""
    command = [sys.executable, "-m", "gunicorn", "--check-config", "--config", str(path)]
    env = {**os.environ, **environment(path.parent.name, "redis://127.0.0.1/", "test:", tmp_path)}

    checked = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)

    assert checked.returncode == 0, checked.stderr
