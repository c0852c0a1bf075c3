"""A server of a guard's completions with the fields that vLLM's has, over real HTTP, backed by transformers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class GuardServer:
    """What is served, and what was asked."""

    backend: Any
    failures: list[int] = field(default_factory=list)
    """HTTP statuses of the next answers."""
    ids: bool = True
    """Give tokens as ids."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the choices for a request."""
        ids = [tuple(body["prompt"])]
        with self.lock:
            if body.get("logprobs"):
                [found] = self.backend.next_token_logprobs(ids, body["logprobs"])
                name = "token_id:{}" if self.ids and body.get("return_tokens_as_token_ids") else "word{}"
                return [{"text": "", "logprobs": {"top_logprobs": [{name.format(k): v for k, v in found.items()}]}}]
            if body.get("n", 1) > 1:
                return [{"text": text} for text in self.backend.sample(ids, body["max_tokens"], body["n"])[0]]
            return [{"text": self.backend.complete(ids, body["max_tokens"])[0]}]


@contextmanager
def guard_server(backend: Any) -> Iterator[GuardServer]:
    """Start a server of a guard that a back end runs."""
    served = GuardServer(backend)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(body)
            served.headers.append(self.headers.get("Authorization", ""))
            status = served.failures.pop(0) if served.failures else 200 if self.path == "/v1/completions" else 404
            choices = served.answer(body) if status == 200 else []
            data = json.dumps({"choices": [{"index": i, **one} for i, one in enumerate(choices)]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
