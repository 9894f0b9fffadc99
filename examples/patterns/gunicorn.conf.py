"""`gunicorn --config examples/patterns/gunicorn.conf.py`, in the root of the checkout."""

wsgi_app = "examples.patterns.app:create_app()"
worker_class = "gevent"
workers = 2
