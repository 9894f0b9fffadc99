"""Room for many connections: files that a process may open, ports that an address has."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

#: Files that the process needs besides its connections.
OTHERS = 64
#: A bind that takes the port when it connects, so that ports may be shared by destination.
_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


def allow_files(wanted: int) -> int:
    """Raise RLIMIT_NOFILE as far as needed and allowed; return how many connections that makes."""
    wanted += OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        if soft >= limits[0]:
            break
        try:
            # The first one needs CAP_SYS_RESOURCE where it goes beyond the hard limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        except (OSError, ValueError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - OTHERS


def ports() -> int:
    """Return how many connections one source address can have to one destination."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except OSError:
        return 28_000
    # Some of them are others'.
    return int((int(high) - int(low)) * 0.9)


def source(index: int, address: str, each: int) -> str | None:
    """Return the address to connect the client with this index from; None leaves it to the kernel.

    Only loopback has addresses to spare: all of 127.0.0.0/8 is this machine.
    """
    if index < each or not address.startswith("127."):
        return None
    return f"127.0.0.{1 + index // each}"


def connection(index: int, family: int, address: str, each: int) -> socket.socket:
    """Return a socket that does not block, bound where its client connects from."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    own = source(index, address, each)
    if own is not None:
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((own, 0))
    return sock
