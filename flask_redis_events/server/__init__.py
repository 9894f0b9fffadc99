"""The WSGI server's side."""
