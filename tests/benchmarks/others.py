"""The other projects as contestants, each as its own documentation has it, and the limit."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

import psutil

from tests.support.servers import WebServer

from . import competitors, machine
from .contestant import APPS, Contestant, Event, GunicornContestant, PinnedGunicorn


class FlaskSSE(GunicornContestant):
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
        return f"{self.server.url}/{self.path}?channel={self.prefix}{channel}"

    def publish(self, events: Sequence[Event]) -> None:
        with self.redis.pipeline(transaction=False) as pipeline:
            for channel, one in events:
                pipeline.publish(f"{self.prefix}{channel}", json.dumps({"data": one}))
            pipeline.execute()

    def ready(self, channels: Sequence[str], count: int) -> bool:
        names = [f"{self.prefix}{channel}" for channel in channels]
        return sum(found for _, found in self.redis.pubsub_numsub(*names)) >= count


class FlaskSSEFilter(FlaskSSE):
    """What our callbacks do, in the generator of the user's own view."""

    name = "Flask-SSE filter"
    path = "filter"


class SSEStarlette(Contestant):
    """uvicorn with uvloop and httptools; one reader of Redis for all clients."""

    name = "sse-starlette"

    def _server(self) -> WebServer:
        return _Uvicorn(self.env)

    def publish(self, events: Sequence[Event]) -> None:
        with self.redis.pipeline(transaction=False) as pipeline:
            for channel, one in events:
                pipeline.publish(f"{self.prefix}{channel}", json.dumps(one))
            pipeline.execute()


class SSEStarletteFilter(SSEStarlette):
    """What our callbacks do, in the user's generator."""

    name = "sse-starlette filter"
    path = "filter"


class _Uvicorn(WebServer):
    def _command(self) -> list[str]:
        command = [str(competitors.environment()), "-m", "uvicorn"]
        command += ["tests.benchmarks.apps.with_sse_starlette:app", "--port", str(self.port)]
        return machine.pinned([*command, "--backlog", "4096", "--log-level", "warning"])


class _Posted(Contestant):
    """Published to by POST, on one connection; several requests leave in one piece."""

    #: Where it is published to.
    published_to = "/publish/"

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
            head = f"POST {self.published_to}{channel} HTTP/1.1\r\nHost: bench\r\n"
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
        source = APPS / "limit.c"
        program = self.directory / "limit"
        subprocess.run(["gcc", "-O2", "-o", str(program), str(source)], check=True)
        return machine.pinned([str(program), str(self.port)])
