"""The servers under test: how each is started, requested, and published to."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from flask_redis_events import Emitter
from tests.support.servers import Gunicorn, RedisServer, WebServer

from . import competitors, machine

#: Room for all streams of a measurement, beside connections that are just being closed.
GUNICORN = ["--worker-connections", "30000", "--backlog", "4096", "--keep-alive", "30"]
#: A channel, and the data to publish on it.
Event = tuple[str, Any]
#: How many messages a burst has.
BURST = 16
#: Padding with which a message has about a hundred bytes on the wire.
PADDING = "x" * 32


def message(number: int) -> dict[str, Any]:
    """Return the data of a message, with the time at which it is published."""
    return {"t": round(time.monotonic(), 6), "n": number, "text": PADDING}


class Contestant:
    """A server with one worker, on the server's core; a context manager.

    `ready` says whether all clients are served.  Only a server that sends no head before its first
    message needs it; with others, the clients know.
    """

    name = ""
    #: Whether the server sends a response's head before its first message.
    answers_first = True
    #: Whether the server sends heartbeats to idle clients.
    beats = True
    #: Whether the server resumes a stream at a Last-Event-ID.
    resumes = False

    def __init__(self, redis: RedisServer, **env: str) -> None:
        self.redis = redis.client()
        self.env = {"BENCH_REDIS_URL": redis.url, **env}
        self.server = self._server()

    def _server(self) -> WebServer:
        raise NotImplementedError

    def url(self, channel: str) -> str:
        return f"{self.server.url}/stream/{channel}"

    def publish(self, events: Sequence[Event]) -> None:
        """Publish (channel, data) pairs in one round trip."""
        raise NotImplementedError

    def ready(self, channels: Sequence[str], count: int) -> bool:
        return True

    @property
    def worker(self) -> int:
        """The process id of the worker that serves the streams."""
        return self.server.pid

    def cpu(self) -> float:
        return machine.cpu_seconds(self.worker)

    def memory(self) -> int:
        return machine.memory(self.worker)

    def __enter__(self) -> Contestant:
        self.server.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.close()


class PinnedGunicorn(Gunicorn):
    """A gunicorn on the server's core; `python` chooses another environment."""

    def __init__(self, app: str, *, python: str | None = None, env: Mapping[str, str]) -> None:
        self._python = python
        super().__init__(app, workers=1, args=GUNICORN, env=env)

    def _command(self) -> list[str]:
        command = super()._command()
        return machine.pinned([self._python or command[0], *command[1:]])


class _GunicornContestant(Contestant):
    server: PinnedGunicorn

    @property
    def worker(self) -> int:
        return self.server.worker_pids()[0]


class Ours(_GunicornContestant):
    """This project; `handoff` is its setting of that name."""

    resumes = True
    handoff = "auto"

    def __init__(self, redis: RedisServer, **env: str) -> None:
        settings = {
            "BENCH_REDIS_EVENTS_URL": redis.url,
            "BENCH_REDIS_EVENTS_HANDOFF": self.handoff,
            "BENCH_REDIS_EVENTS_PREFIX": f"{self.handoff}:",
        }
        super().__init__(redis, **settings, **env)
        self.emitter = Emitter(redis.url, prefix=f"{self.handoff}:")

    def _server(self) -> WebServer:
        return PinnedGunicorn("tests.benchmarks.apps.ours:create_app()", env=self.env)

    def publish(self, events: Sequence[Event]) -> None:
        if len(events) == 1:
            self.emitter.emit(*events[0])
        else:
            self.emitter.emit_many(events)

    def metrics(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.server.url}/metrics") as response:
            found: dict[str, int] = json.load(response)
            return found


class Generator(Ours):
    name = "generator"
    handoff = "off"


class HandOff(Ours):
    name = "hand-off"


class FlaskSSE(_GunicornContestant):
    """Flask-SSE: a connection to Redis for each client, and no byte before the first message."""

    name = "Flask-SSE"
    answers_first = False
    beats = False

    def _server(self) -> WebServer:
        return PinnedGunicorn(
            "tests.benchmarks.apps.with_flask_sse:create_app()",
            python=str(competitors.environment()),
            env=self.env,
        )

    def url(self, channel: str) -> str:
        return f"{self.server.url}/stream?channel={channel}"

    def publish(self, events: Sequence[Event]) -> None:
        with self.redis.pipeline(transaction=False) as pipeline:
            for channel, one in events:
                pipeline.publish(channel, json.dumps({"data": one}))
            pipeline.execute()

    def ready(self, channels: Sequence[str], count: int) -> bool:
        return sum(found for _, found in self.redis.pubsub_numsub(*channels)) >= count


class SSEStarlette(Contestant):
    """sse-starlette, under uvicorn with uvloop and httptools; clients share a reader of Redis."""

    name = "sse-starlette"

    def _server(self) -> WebServer:
        return _Uvicorn(self.env)

    def publish(self, events: Sequence[Event]) -> None:
        with self.redis.pipeline(transaction=False) as pipeline:
            for channel, one in events:
                pipeline.publish(f"starlette:{channel}", json.dumps(one))
            pipeline.execute()


class _Uvicorn(WebServer):
    def _command(self) -> list[str]:
        command = [str(competitors.environment()), "-m", "uvicorn"]
        command += ["tests.benchmarks.apps.with_sse_starlette:app", "--port", str(self.port)]
        return machine.pinned([*command, "--backlog", "4096", "--log-level", "warning"])


class _Posted(Contestant):
    """A server to which POST publishes, on one connection; several requests leave in one write."""

    path = "/publish/"

    def __enter__(self) -> Contestant:
        super().__enter__()
        self._connection = socket.create_connection(("127.0.0.1", self.server.port))
        return self

    def __exit__(self, *exc: object) -> None:
        self._connection.close()
        super().__exit__(*exc)

    def body(self, one: Any) -> bytes:
        return json.dumps(one).encode()

    def publish(self, events: Sequence[Event]) -> None:
        pieces = []
        for channel, one in events:
            body = self.body(one)
            head = f"POST {self.path}{channel} HTTP/1.1\r\nHost: bench\r\n"
            pieces.append(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        self._connection.sendall(b"".join(pieces))
        answers, received = 0, b""
        while answers < len(events):
            piece = self._connection.recv(65536)
            if not piece:
                raise RuntimeError(f"{self.name} closed the connection:\n{self.server.log}")
            received += piece
            answers = received.count(b"HTTP/1.1 2")


NCHAN = """
load_module modules/ngx_nchan_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile 60000;
error_log stderr;
pid {directory}/nginx.pid;
events {{ worker_connections 40000; }}
http {{
  access_log off;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  keepalive_requests 100000000;
  keepalive_timeout 600;
  nchan_shared_memory_size 512M;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location ~ /stream/(.+)$ {{
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_eventsource_ping_interval 15;
    }}
    location ~ /publish/(.+)$ {{
      nchan_publisher;
      nchan_channel_id $1;
      nchan_message_buffer_length 1000;
      nchan_message_timeout 300;
    }}
    location / {{ return 200 "here"; }}
  }}
}}
"""


class Nchan(_Posted):
    """nginx's module nchan: it keeps messages in shared memory, and uses no Redis."""

    name = "nchan"
    resumes = True

    def _server(self) -> WebServer:
        return _Nginx(self.env)

    @property
    def worker(self) -> int:
        return int(psutil.Process(self.server.pid).children()[0].pid)


class _Nginx(WebServer):
    def _command(self) -> list[str]:
        config = self.directory / "nginx.conf"
        config.write_text(NCHAN.format(directory=self.directory, port=self.port))
        # As root, nginx would run its worker as "nobody", which may not write to this directory.
        everyone = ["-g", "user root;"] if os.geteuid() == 0 else []
        return machine.pinned(["nginx", "-c", str(config), *everyone])


class Limit(_Posted):
    """A loop in C that only sends, as a lower limit for servers with one thread."""

    name = "limit"
    beats = False

    def _server(self) -> WebServer:
        return _Loop(self.env)

    def body(self, one: Any) -> bytes:
        return f"id: 1795420087121-0\ndata: {json.dumps(one)}\n\n".encode()


class _Loop(WebServer):
    def _command(self) -> list[str]:
        source = Path(__file__).parent / "apps" / "limit.c"
        program = self.directory / "limit"
        subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)
        return machine.pinned([str(program), str(self.port)])


EVERYONE: list[type[Contestant]] = [Generator, HandOff, FlaskSSE, SSEStarlette, Nchan, Limit]


def missing(kind: type[Contestant]) -> str:
    """Return the program that a contestant needs and this machine lacks, or ""."""
    programs: dict[type[Contestant], str] = {Nchan: "nginx", Limit: "gcc"}
    needs = programs.get(kind, "taskset")
    if shutil.which(needs) is None:
        return needs
    nchan = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    return "libnginx-mod-nchan" if kind is Nchan and not nchan.exists() else ""
