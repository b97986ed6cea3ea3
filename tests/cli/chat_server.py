"""A server with a chat endpoint that answers by rule."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

KEY = "secret"

ADAPTER = {"digest": "0123456789abcdef" * 4, "generation": 1, "max_rank": 8, "num_pages": 1234}
MODELS: list[dict[str, Any]] = [
    {"id": "base", "root": "/models/base"},
    {"id": "tuned", "root": "/adapters/[bold]tuned", "parent": "base", "adapter": ADAPTER},
]


class ChatServer(ThreadingHTTPServer):
    """Answers with the model's name, how many messages there are, and the last one.

    The answer to "slow" begins with "wait" and has no end.
    """

    daemon_threads = True

    def __init__(self, *, api_key: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.api_key = api_key
        self.requests: list[dict[str, Any]] = []
        self.stopped = Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def chat_server(*, api_key: str | None = None) -> Iterator[ChatServer]:
    with ChatServer(api_key=api_key) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.stopped.set()
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_GET(self) -> None:
        if self._is_allowed():
            self._answer(200, {"data": MODELS})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._is_allowed():
            return
        self.server.requests.append(request)
        model, text = request["model"], request["messages"][-1]["content"]
        if model not in {entry["id"] for entry in MODELS}:
            self._answer(404, {"error": {"message": f"no model {model}"}})
            return
        self.send_response(200)
        self.end_headers()
        if text == "slow":
            self._send({"content": "wait"})
            self.server.stopped.wait(60)
            return
        for word in (f"{model}", f" {len(request['messages'])}", f" {text}"):
            self._send({"content": word})
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: object) -> None:
        """Silence: tests read what is printed."""

    def _is_allowed(self) -> bool:
        key = self.server.api_key
        if key is None or self.headers["Authorization"] == f"Bearer {key}":
            return True
        self._answer(401, {"error": {"message": "wrong key"}})
        return False

    def _answer(self, status: int, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, delta: dict[str, str]) -> None:
        event = json.dumps({"choices": [{"index": 0, "delta": delta}]})
        self.wfile.write(f"data: {event}\n\n".encode())
