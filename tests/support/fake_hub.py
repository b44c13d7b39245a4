"""A fake hub on this machine, with the part of the protocol that its client uses to fetch a model.

Written after the client's source (huggingface_hub 2.4: `HfApi.model_info`, `hf_hub_download`,
`http_get`) and the hub's published API: a model's listing with sizes and digests, HEAD and GET of
`resolve`, ranges, large files redirected to another host.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = 1000
"""Files of at least this size are stored by digest, as in Git LFS."""


@dataclass
class FakeHub:
    """The hub's files, its faults, and the requests it got."""

    name: str = "owner/tiny"
    files: dict[str, bytes] = field(default_factory=dict)
    status: int | None = None
    """Answers every request with this status."""
    error: str | None = None
    """The error code of that answer."""
    break_after: int | None = None
    """Closes the connection once, after this many bytes of a large file."""
    ranges: bool = True
    """Whether Range requests are honored."""
    page: bytes | None = None
    """Answers every request with this page, as a captive portal does."""
    damaged: bool = False
    """Sends large files with a bit flipped."""
    stall: threading.Event | None = None
    """Once `break_after` bytes are sent, waits for this event instead of closing."""
    hostile: dict[str, Callable[[Any], None]] = field(default_factory=dict)
    """For a part of a path, a function that answers, given the request's handler."""
    sent: int = 0
    """The bytes that `hostile` functions could send, as they count them."""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    cdn: str = ""

    def requested(self, method: str, part: str) -> list[dict[str, str]]:
        """The headers of the requests of one method whose path contains `part`."""
        return [headers for m, path, headers in self.requests if m == method and part in path]

    def listing(self) -> dict[str, Any]:
        siblings = [self._sibling(name, data) for name, data in self.files.items()]
        return {"id": self.name, "modelId": self.name, "sha": COMMIT, "siblings": siblings}

    @staticmethod
    def _sibling(name: str, data: bytes) -> dict[str, Any]:
        blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob}
        if len(data) >= LARGE:
            sha = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"sha256": sha, "size": len(data), "pointerSize": 130}
        return entry


def handler(hub: FakeHub, is_cdn: bool) -> type[BaseHTTPRequestHandler]:  # noqa: C901
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, *_: Any) -> None:
            pass

        def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key.replace("_", "-"), value)
            self.send_header("Content-Length", headers.get("Content_Length", str(len(body))))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def answer(self) -> None:
            path = urlsplit(self.path).path
            kept = {key.lower(): value for key, value in self.headers.items()}
            hub.requests.append((self.command, ("cdn" if is_cdn else "") + self.path, kept))
            for part, answer in hub.hostile.items():
                if part in self.path:
                    self.close_connection = True
                    return answer(self)
            if hub.page is not None:
                return self.reply(200, hub.page, Content_Type="text/html")
            if hub.status:
                extra = {"X_Error_Code": hub.error} if hub.error else {}
                return self.reply(hub.status, b"{}", **extra)
            if path.startswith("/blob/"):
                return self.send_large(path.removeprefix("/blob/"))
            api = f"/api/models/{hub.name}"
            if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}"):
                return self.reply(200, json.dumps(hub.listing()).encode())
            if path.startswith(f"{api}/revision/"):
                return self.reply(404, X_Error_Code="RevisionNotFound")
            start = f"/{hub.name}/resolve/"
            commit, _, file = path.removeprefix(start).partition("/")
            if path.startswith(start) and commit in (COMMIT, "main") and file in hub.files:
                return self.resolve(file)
            if f"/{hub.name}/" in path:
                return self.reply(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            return self.reply(404, X_Error_Code="RepoNotFound")

        def resolve(self, name: str) -> None:
            data = hub.files[name]
            entry = hub._sibling(name, data)
            if "lfs" not in entry:
                head = {"ETag": f'"{entry["blobId"]}"', "X_Repo_Commit": COMMIT}
                return self.reply(200, data, **head)
            sha = entry["lfs"]["sha256"]
            return self.reply(
                302,
                X_Repo_Commit=COMMIT,
                X_Linked_Etag=f'"{sha}"',
                X_Linked_Size=str(len(data)),
                Location=f"{hub.cdn}/blob/{name}",
            )

        def send_large(self, name: str) -> None:
            data = hub.files[name]
            if hub.damaged:
                data = bytes([data[0] ^ 1]) + data[1:]
            range_header = self.headers.get("Range")
            start = (
                int(range_header.removeprefix("bytes=").split("-")[0])
                if range_header and hub.ranges
                else 0
            )
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            if hub.break_after is None:
                self.wfile.write(data[start:])
                return
            self.wfile.write(data[start : start + hub.break_after])
            self.wfile.flush()
            hub.break_after = None
            if hub.stall:
                hub.stall.wait(30)
            self.close_connection = True
            self.connection.close()

    return Handler


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the hub, and a second host for large files, until the block ends."""
    servers = []
    for is_cdn in (False, True):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub, is_cdn))
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that disconnects
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
    # Two names of one machine are two hosts for the client.
    hub.url = f"http://127.0.0.1:{servers[0].server_port}"
    hub.cdn = f"http://localhost:{servers[1].server_port}"
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
