"""What gunicorn runs the demo with; it reads this file by its path, before gevent has patched."""

from __future__ import annotations

#: Seconds that a worker has for its requests when it ends; streams take less than one.
graceful_timeout = 3
loglevel = "warning"
worker_class = "gevent"
#: New in gunicorn 25.1; earlier ones pass over what they do not know, here but not as an option.
control_socket_disable = True
