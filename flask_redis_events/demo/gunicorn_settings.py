"""The settings of the demo's gunicorn.

gunicorn reads this file by its path, so that it imports nothing of this package before gevent has
patched.
"""

from __future__ import annotations

#: Seconds that a worker which ends gives to its requests; streams end in less than one.
graceful_timeout = 3
loglevel = "warning"
worker_class = "gevent"
#: A setting of gunicorn 25.1 and later.  Earlier versions ignore unknown names in this file, but
#: would refuse an unknown option on the command line.
control_socket_disable = True
