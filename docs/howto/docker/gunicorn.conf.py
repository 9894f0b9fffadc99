bind = "0.0.0.0:8000"
worker_class = "gevent"
workers = 2  # about one for each CPU core
worker_tmp_dir = (
    "/dev/shm"  # a worker writes its signs of life there, and not to the container's disk
)
