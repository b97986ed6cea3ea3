"""How many connections this process has room for."""

import resource

MAX_CONNECTIONS = 65_536
RESERVED_FILES = 256
"""For model files, the listener, and clients that are just being refused."""


def connection_limit() -> int:
    """Raise this process's limit of open files as far as it goes; the connections that fit.

    Beyond it a connection could not even be refused: the system would reset it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    num_files = MAX_CONNECTIONS + RESERVED_FILES if hard == resource.RLIM_INFINITY else hard
    return min(MAX_CONNECTIONS, max(num_files - RESERVED_FILES, num_files // 2))
