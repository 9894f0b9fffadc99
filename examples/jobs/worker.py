"""A worker of RQ that runs the jobs: `python -m examples.jobs.worker`, one for each core."""

from __future__ import annotations

from rq import SimpleWorker

from .app import create_app


def main() -> None:
    """Run jobs until the process ends; SIGTERM lets it finish the one at hand."""
    app = create_app()
    queue = app.extensions["queue"]
    # A SimpleWorker runs its jobs in this process, so that a job ends with it.
    with app.app_context():
        SimpleWorker([queue], connection=queue.connection).work()


if __name__ == "__main__":
    main()
