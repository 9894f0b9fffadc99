"""python run.py FILE URL: listen as the file does, and print each call as a line of JSON."""

from __future__ import annotations

import json
import runpy
import sys
from typing import Any


def write(*what: Any) -> None:
    print(json.dumps(what), flush=True)


file, url = sys.argv[1:]
listen = runpy.run_path(file)["listen"]
listen(url, lambda data: write("message", data), lambda: write("reset"))
