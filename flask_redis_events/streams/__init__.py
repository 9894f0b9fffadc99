"""One response, from its request to its end."""
