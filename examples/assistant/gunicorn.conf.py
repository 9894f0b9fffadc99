"""`gunicorn --config examples/assistant/gunicorn.conf.py`, in the root of the checkout."""

wsgi_app = "examples.assistant.app:create_app()"
worker_class = "gevent"
workers = 2
