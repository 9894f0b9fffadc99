"""`python -m flask_redis_events`: run the demo, an example or the benchmark."""

from __future__ import annotations

import sys

from .bench import main as bench
from .demo.launcher import main as demo
from .gallery.launcher import main as examples

USAGE = """\
usage: python -m flask_redis_events demo [--host HOST] [--port PORT] [--workers N]
       python -m flask_redis_events examples [NAME] [--host HOST] [--port PORT] [--workers N]
       python -m flask_redis_events bench URL [-c STREAMS] [--seconds N]"""


def main(argv: list[str]) -> int:
    """Run the command that the arguments name; return the exit status."""
    if argv[:1] == ["demo"]:
        return demo(argv[1:])
    if argv[:1] == ["examples"]:
        return examples(argv[1:])
    if argv[:1] == ["bench"]:
        return bench(argv[1:])
    asked = argv in (["-h"], ["--help"])
    print(USAGE, file=sys.stdout if asked else sys.stderr)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
