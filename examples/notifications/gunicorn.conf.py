"""`gunicorn --config examples/notifications/gunicorn.conf.py`, in the root of the checkout."""

wsgi_app = "examples.notifications.app:create_app()"
worker_class = "gevent"
workers = 2
