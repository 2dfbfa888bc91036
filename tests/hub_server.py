"""A small Hub on loopback: the requests that huggingface_hub makes for a model, and the ways in which they go wrong."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

Fault = Literal["", "error", "error-metadata", "stall", "stall-metadata", "cut", "cut-once"]


@dataclass
class Repo:
    """One model. `fault` strikes requests for weights, or for metadata where it says so."""

    files: dict[str, bytes]
    fault: Fault = ""
    claimed: dict[str, int] = field(default_factory=dict)  # sizes that metadata tells instead of the true ones
    info: dict = field(default_factory=dict)  # more metadata: gated, config, tags
    status: int = 0  # if set, metadata is answered with it
    commit: str = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves `repos` at `url` while it is entered and notes (method, path) of every request in `log`."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.log: list[tuple[str, str]] = []
        self.tokens: list[str] = []
        self.closing = threading.Event()  # lets stalled answers end with the test
        self.reached = threading.Event()  # set when a fault strikes

    def __enter__(self) -> HubServer:
        handler = type("BoundHandler", (_Handler,), {"hub": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(self, name: str, files: dict[str, bytes], **how: object) -> Repo:
        self.repos[name] = Repo(files, **how)
        return self.repos[name]

    def bodies(self, suffix: str = "") -> list[str]:
        """Paths of the files whose contents were asked for."""
        return [path for method, path in self.log if method == "GET" and "/resolve/" in path and path.endswith(suffix)]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that was ended mid-answer is part of the tests
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append((self.command, path))
        if token := self.headers.get("Authorization"):
            self.hub.tokens.append(token)
        if path.startswith("/api/models/"):
            name = path.removeprefix("/api/models/").partition("/revision/")[0]
            self._metadata(name, self.hub.repos.get(name))
        else:
            name, _, rest = path.lstrip("/").partition("/resolve/")
            self._file(self.hub.repos.get(name), *rest.partition("/")[::2])

    def _metadata(self, name: str, repo: Repo | None) -> None:
        if repo is None or repo.status:
            self._send(repo.status if repo else 404, b'{"error": "refused"}', {})
        elif repo.fault == "error-metadata":
            self._send(500, b"{}", {})
        elif repo.fault == "stall-metadata":
            self._stall()
        else:
            sizes = {file: len(content) for file, content in repo.files.items()} | repo.claimed
            siblings = [{"rfilename": file, "size": size, "blobId": "0" * 40} for file, size in sizes.items()]
            body = {"id": name, "sha": repo.commit, "gated": False, "private": False, "siblings": siblings} | repo.info
            self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: Repo | None, revision: str, file: str) -> None:
        if repo is None or revision not in ("main", repo.commit) or file not in repo.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        body = repo.files[file]
        headers = {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": repo.commit}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        fault = repo.fault if file.endswith(".safetensors") and self.command == "GET" else ""
        if fault == "error":
            self._send(500, b"", {})
        elif fault == "stall":
            self._stall()
        elif fault in ("cut", "cut-once"):
            repo.fault = "" if fault == "cut-once" else fault
            self._send(206 if start else 200, body[start:], headers, most=max(0, len(body) // 2 - start))
        else:
            self._send(206 if start else 200, body[start:], headers)

    def _stall(self) -> None:
        self.hub.reached.set()
        self.hub.closing.wait(30)
        self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str], most: int | None = None) -> None:
        """The whole answer, or only `most` bytes of the promised body before the line goes dead."""
        self.send_response(HTTPStatus(status))
        for key, value in (headers | {"Content-Length": str(len(body)), "Accept-Ranges": "bytes"}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:most])
        if most is not None:
            self.close_connection = True
            self.hub.reached.set()
