"""The last process of the demo: it ends the others if the launcher cannot, as after `kill -9`.

The launcher runs this file as a program, and holds the other end of its standard input.  The kernel
closes that end when the launcher ends, however it ends.  The launcher's other children are in this
process's group; a launcher that ends in order has ended them before, and then this process.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time

#: Seconds between SIGTERM and SIGKILL.
PATIENCE = 4.0


def main() -> None:
    """Wait for the launcher's end; then end the group, and remove the directories it has named."""
    # SIGTERM is its own, below.  SIGHUP is the kernel's: a group that has lost its launcher while a
    # process in it is stopped, as a frozen Redis, gets one.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    directories = sys.stdin.read().splitlines()
    os.killpg(0, signal.SIGTERM)
    # A Redis that the launcher has frozen takes no other signal.
    os.killpg(0, signal.SIGCONT)
    time.sleep(PATIENCE)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
