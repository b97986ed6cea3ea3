"""The HTTP server: sockets, routes, limits, errors, metrics."""
