"""The reading routes behind the real guards, in a process that may be killed at any moment; another takes its place.

`python -m tests.mortal_server` prints the port, and then the process id of each server that begins. It ends with its
standard input. The modules are imported once, before the servers fork off, so that each is up at once.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys

import uvicorn
from starlette.applications import Starlette

from ui import case_routes, guards


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listening.getsockname()[1], flush=True)
    while True:
        server = os.fork()
        if server == 0:
            serve(listening)
        print(server, flush=True)
        while os.waitpid(server, os.WNOHANG) == (0, 0):
            if select.select([sys.stdin], [], [], 0.02)[0]:
                os.kill(server, signal.SIGKILL)
                return


def serve(listening: socket.socket) -> None:
    app = Starlette(routes=case_routes.ROUTES, middleware=guards.stack(None))
    configuration = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(configuration).run(sockets=[listening])
    os._exit(0)


if __name__ == "__main__":
    main()
