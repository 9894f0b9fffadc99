"""The limits of a machine on many connections: files for each process, ports for each address."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

#: Files that the process needs beside its connections.
OTHERS = 64
#: With this option `bind` leaves the port to `connect`, so that connections to different
#: destinations can share a port (ip(7)).
_BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24)


def allow_files(wanted: int) -> int:
    """Raise RLIMIT_NOFILE as far as needed and allowed; return how many connections then fit."""
    wanted += OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        if soft >= limits[0]:
            break
        try:
            # Raising the hard limit needs CAP_SYS_RESOURCE, so the second attempt stays below it.
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
    # Other programs use some of them.
    return int((int(high) - int(low)) * 0.9)


def source(index: int, address: str, each: int) -> str | None:
    """Return the source address for the client with this index; None lets the kernel choose.

    `each` clients share one address, because an address has one port for each connection to the
    same destination.  Only loopback has further addresses: all of 127.0.0.0/8 is this machine.
    """
    if index < each or not address.startswith("127."):
        return None
    return f"127.0.0.{1 + index // each}"


def connection(index: int, family: int, address: str, each: int) -> socket.socket:
    """Return a non-blocking socket, bound to the source address of its client."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    own = source(index, address, each)
    if own is not None:
        sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        sock.bind((own, 0))
    return sock
