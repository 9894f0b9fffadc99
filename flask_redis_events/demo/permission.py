"""Who may cause faults: only a browser on this very machine, on a page of the demo.

The launcher allows none unless it listens on loopback.  A request must then come from loopback and
through no proxy, for a name of this machine (a foreign name that leads here is DNS rebinding), and
from the page's own origin (another one is a forged request).
"""

from __future__ import annotations

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import request

#: What the launcher tells: its process id, and the names of the faults that it allows.
LAUNCHER, ALLOWED = "DEMO_LAUNCHER", "DEMO_FAULTS"
OF_THE_WEB = ("cut", "kill", "reload", "flood")
OF_REDIS = ("freeze", "restart")
#: Headers that proxies add, beside X-Forwarded-…
PROXIED = ("forwarded", "via", "x-real-ip")


def allowed() -> list[str]:
    """Return the names of the faults that the launcher allows."""
    return os.environ.get(ALLOWED, "").split()


def is_loopback(host: str | None) -> bool:
    """Say whether a host's name or address is one of this machine's own."""
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_our_page() -> bool:
    """Say whether the request comes from a page of the demo, in a browser on this machine."""
    names = {name.lower() for name, _ in request.headers}
    try:
        name = urlsplit(f"//{request.host}").hostname
    except ValueError:
        return False
    return (
        is_loopback(request.remote_addr)
        and not any(name in PROXIED or name.startswith("x-forwarded-") for name in names)
        and is_loopback(name)
        and request.headers.get("Origin") == f"http://{request.host}"
    )
