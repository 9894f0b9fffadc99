"""`gunicorn --config examples/chat/gunicorn.conf.py`, in the root of the checkout."""

wsgi_app = "examples.chat.app:create_app()"
worker_class = "gevent"
workers = 2
