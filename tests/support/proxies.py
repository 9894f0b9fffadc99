"""Real proxies before a gunicorn, each with the configuration that the documentation shows."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT, free_port
from tests.support.servers import WebServer

#: The files that the page about proxies shows.
DOCUMENTED = ROOT / "docs" / "proxies"
#: A certificate of `localhost`, and its key.
TLS = ROOT / "tests" / "support" / "tls"


@dataclass(frozen=True)
class Kind:
    """How a proxy is run, and which names, paths and ports of its documented file are the test's.

    In the values, `{port}` and `{plain}` are ports for HTTPS and HTTP, `{here}` is a directory of
    the proxy's own, and `{shop}` the one of gunicorn's socket.
    """

    file: str
    command: Sequence[str]
    replace: Mapping[str, str]
    #: What stands before it: the distribution's part, and where the test keeps its files.
    before: str = ""
    #: Files that the documented one names.
    others: Sequence[str] = ()
    scheme: str = "https"


_MODULES = (
    *("mpm_event", "authz_core", "headers", "http2", "proxy", "proxy_http", "socache_shmcb"),
    *("ssl", "deflate", "filter"),
)

NGINX_FILES = "".join(
    f"{name}_temp_path {{here}}/{name};\n"
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)

PROXIES = {
    "nginx": Kind(
        "nginx.conf",
        ["nginx", "-p", "{here}", "-c", "{here}/nginx.conf"],
        {
            "listen 80;": "listen 127.0.0.1:{plain};",
            "listen 443 ssl": "listen 127.0.0.1:{port} ssl",
            "/etc/ssl/shop": "{here}",
            "/run/shop": "{shop}",
            "retry: 5000": "retry: 200",
            "http {": "http {{ access_log off;\n" + NGINX_FILES,
        },
        before="daemon off; pid {here}/pid; error_log stderr;\n",
    ),
    "haproxy": Kind(
        "haproxy.cfg",
        ["haproxy", "-db", "-f", "{here}/haproxy.cfg"],
        {
            "maxconn 20000": "maxconn 2000",
            "bind :80": "bind 127.0.0.1:{plain}",
            "bind :443": "bind 127.0.0.1:{port}",
            "/etc/ssl/shop": "{here}",
            "/etc/haproxy": "{here}",
            "/run/shop": "{shop}",
        },
        others=["later.http"],
    ),
    "apache": Kind(
        "apache.conf",
        ["apache2", "-DFOREGROUND", "-f", "{here}/apache.conf"],
        {
            "*:443": "*:{port}",
            "/etc/ssl/shop": "{here}",
            "/run/shop": "{shop}",
        },
        before="".join(
            f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
            for name in _MODULES
        )
        + "User www-data\nGroup www-data\nServerName localhost\nServerRoot {here}\n"
        "PidFile {here}/pid\nMutex file:{here} default\nDefaultRuntimeDir {here}\n"
        "ErrorLog /dev/stderr\nListen 127.0.0.1:{port}\n",
    ),
    "caddy": Kind(
        "Caddyfile",
        ["caddy", "run", "--adapter", "caddyfile", "--config", "{here}/Caddyfile"],
        {
            "shop.example {": "https://localhost:{port} {{\n bind 127.0.0.1\n"
            " tls {here}/cert.pem {here}/key.pem",
            "/run/shop": "/{shop}",
            "retry: 5000": "retry: 200",
        },
        before="{{\n admin off\n auto_https off\n storage file_system {here}\n}}\n",
    ),
    "varnish": Kind(
        "varnish.vcl",
        [
            *("varnishd", "-F", "-n", "{here}", "-a", "127.0.0.1:{port}", "-s", "malloc,16m"),
            *("-j", "none", "-f", "{here}/varnish.vcl"),
        ],
        {"/run/shop": "{shop}"},
        scheme="http",
    ),
}


def which(program: str) -> str | None:
    """Return a program's path, also of those that only root has on its PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Proxy(WebServer):
    """A proxy before a gunicorn that listens on `gunicorn.sock` in the directory `shop`."""

    def __init__(self, kind: Kind, shop: Path, *, replace: Mapping[str, str] | None = None) -> None:
        self._kind = kind
        self._shop = shop
        self._replace = {**kind.replace, **(replace or {})}
        super().__init__({"XDG_CONFIG_HOME": str(shop)})
        self.url = f"{kind.scheme}://localhost:{self.port}"

    def _command(self) -> list[str]:
        # Most proxies give up root's rights before they look for gunicorn's socket.
        self.directory.chmod(0o755)
        names = {
            "port": self.port,
            "plain": free_port(),
            "here": self.directory,
            "shop": self._shop,
        }
        text = (DOCUMENTED / self._kind.file).read_text("utf-8")
        for documented, ours in self._replace.items():
            assert documented in text, f"{self._kind.file} does not say {documented!r}."
            text = text.replace(documented, ours.format(**names))
        (self.directory / Path(self._kind.file).name).write_text(
            self._kind.before.format(**names) + text
        )
        for name in self._kind.others:
            other = (DOCUMENTED / name).read_bytes().replace(b"retry: 5000", b"retry: 200")
            (self.directory / name).write_bytes(other)
        certificate, key = ((TLS / name).read_text() for name in ("cert.pem", "key.pem"))
        for name, pem in (("cert", certificate), ("key", key), ("both", certificate + key)):
            (self.directory / f"{name}.pem").write_text(pem)
        program, *arguments = (word.format(**names) for word in self._kind.command)
        return [which(program) or program, *arguments]

    def _ready(self) -> bool:
        self._process.check()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
