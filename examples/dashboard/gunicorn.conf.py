"""`gunicorn --config examples/dashboard/gunicorn.conf.py`, in the root of the checkout."""

wsgi_app = "examples.dashboard.app:create_app()"
worker_class = "gevent"
workers = 2
