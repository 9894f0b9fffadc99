"""The WSGI server's side: its worker, and the connections of its clients."""

from __future__ import annotations

from .client_socket import ClientSocket
from .gunicorn import Takeover
from .socket_writer import SocketWriter

__all__ = ["ClientSocket", "SocketWriter", "Takeover"]
