"""The servers under test: how each is started, streamed from, and published to."""

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

#: A server of a few thousand streams, and of those who come when they have gone.
GUNICORN = ["--worker-connections", "30000", "--backlog", "4096", "--keep-alive", "30"]
#: A channel, and what is published on it.
Event = tuple[str, Any]
#: How many are published together, where several are.
BURST = 16
#: Bytes that make a message about a hundred bytes long on the wire.
PADDING = "x" * 32


def message(number: int) -> dict[str, Any]:
    """Return what is published; its time says when."""
    return {"t": round(time.monotonic(), 6), "n": number, "text": PADDING}


class Contestant:
    """One server, one worker, on the core that is the server's; a context manager.

    `ready` says when all clients that have asked are served; by default they know it themselves.
    """

    name = ""
    #: Whether it sends a head before its first message.
    answers_first = True
    #: Whether it says that it is alive when there is nothing to say.
    beats = True
    #: Whether it resumes at a Last-Event-ID.
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
        """Send what is to go to which channel, in one round trip."""
        raise NotImplementedError

    def ready(self, channels: Sequence[str], count: int) -> bool:
        return True

    @property
    def worker(self) -> int:
        """The process that serves the streams."""
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
    """A gunicorn on the server's core, in an environment that need not be ours."""

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
    """This project; `handoff` is the setting."""

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
    """One connection to Redis for each client, and no byte before the first message."""

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
    """uvicorn with uvloop and httptools; one reader of Redis for all clients."""

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
    """Published to by POST, on one connection; several requests leave in one piece."""

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
                raise RuntimeError(f"{self.name} hung up:\n{self.server.log}")
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
    """nginx's own: messages in its shared memory, published by POST.  No Redis."""

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
        # The worker would be "nobody", who must not write here.
        everyone = ["-g", "user root;"] if os.geteuid() == 0 else []
        return machine.pinned(["nginx", "-c", str(config), *everyone])


class Limit(_Posted):
    """A loop in C that only sends: nobody who serves from one thread is much cheaper."""

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
    """Say what a contestant needs that is not on this machine, or ""."""
    programs: dict[type[Contestant], str] = {Nchan: "nginx", Limit: "gcc"}
    needs = programs.get(kind, "taskset")
    if shutil.which(needs) is None:
        return needs
    nchan = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
    return "libnginx-mod-nchan" if kind is Nchan and not nchan.exists() else ""
