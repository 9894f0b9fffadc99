"""The applications of the end-to-end tests, which guests stand in front of."""

from __future__ import annotations

from tests.e2e.conftest import start as start
