"""gunicorn reads this file in its working directory."""

bind = "unix:/run/shop/gunicorn.sock"
worker_class = "gevent"
workers = 4
worker_connections = 4000
worker_tmp_dir = "/dev/shm"
graceful_timeout = 30
accesslog = "-"
