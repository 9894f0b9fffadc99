"""`gunicorn --config examples/jobs/gunicorn.conf.py`, in the root of the checkout."""

wsgi_app = "examples.jobs.app:create_app()"
worker_class = "gevent"
workers = 2
