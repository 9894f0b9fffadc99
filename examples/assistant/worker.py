"""A worker of RQ that answers: `python -m examples.assistant.worker`, one answer at a time.

A real model's answer waits for the model, so one machine may have many of these.
"""

from __future__ import annotations

from rq import SimpleWorker

from .app import create_app


def main() -> None:
    """Answer until the process ends; SIGTERM lets it finish the answer at hand."""
    app = create_app()
    queue = app.extensions["queue"]
    # A SimpleWorker answers in this process, so that an answer ends with it.
    with app.app_context():
        SimpleWorker([queue], connection=queue.connection).work()


if __name__ == "__main__":
    main()
