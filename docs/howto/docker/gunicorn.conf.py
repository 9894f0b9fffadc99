bind = "0.0.0.0:8000"
worker_class = "gevent"
workers = 2  # about one for each CPU core
