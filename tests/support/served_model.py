"""A small OpenAI-compatible server that stands for vLLM with an adapter: scripted responses over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class ServedModel:
    """What is served, and what was asked."""

    adapters: dict[str, str] = field(default_factory=dict)
    """Path of each served adapter by model name."""
    respond: Callable[[Body], str] = lambda body: "fine"
    """Response to a request, as the model writes it."""
    reasoning_parser: bool = False
    """Hand thought and answer apart."""
    finish: str = "stop"
    key: str = ""
    failures: list[int] = field(default_factory=list)
    """HTTP statuses of the next answers; 0 closes the connection."""
    seconds: float = 0.0
    asked: list[Body] = field(default_factory=list)
    url: str = ""


@contextmanager
def served_model() -> Iterator[ServedModel]:
    """Start a server."""
    model = ServedModel()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(model))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield model
    finally:
        server.shutdown()
        server.server_close()


def _handler(model: ServedModel) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def send(self, code: int, body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def refused(self) -> bool:
            if model.key and self.headers.get("Authorization") != f"Bearer {model.key}":
                self.send(401, {})
                return True
            if not model.failures:
                return False
            code = model.failures.pop(0)
            if code:
                self.send(code, {})
            else:
                self.close_connection = True
                self.connection.close()
            return True

        def do_GET(self) -> None:
            if self.refused():
                return
            assert self.path == "/v1/models", self.path
            cards = [{"id": name, "root": path, "parent": "base"} for name, path in model.adapters.items()]
            self.send(200, {"object": "list", "data": [{"id": "base", "root": "hub/base"}, *cards]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.refused():
                return None
            assert self.path == "/v1/chat/completions", self.path
            if body["model"] not in model.adapters:
                return self.send(404, {"error": {"message": "no such model"}})
            model.asked.append(body)
            time.sleep(model.seconds)
            message = {"role": "assistant", "content": model.respond(body)}
            if model.reasoning_parser:
                thought, close, answer = message["content"].removeprefix("<think>").partition("</think>")
                message = {"role": "assistant", "reasoning_content": thought.strip(),
                           "content": answer.strip() if close else None}
            self.send(200, {"choices": [{"index": 0, "message": message, "finish_reason": model.finish}],
                            "usage": {"prompt_tokens": 1, "completion_tokens": 1}})
            return None

    return Handler
