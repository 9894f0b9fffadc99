vcl 4.1;

backend gunicorn {
    .path = "/run/shop/gunicorn.sock";
}

sub vcl_recv {
    if (req.url ~ "^/stream/") {
        return (pipe);
    }
}

sub vcl_pipe {
    # The next request comes on a connection of its own, and through this file.
    set bereq.http.Connection = "close";
}
