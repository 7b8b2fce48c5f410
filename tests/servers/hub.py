"""A server of the part of the Hugging Face hub's API for datasets, in memory.

Every file is taken as a regular one, inside the commit; the real hub stores large files apart, by
calls of the client that no test here makes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories by name: whether private, and files by branch."""

    def __init__(self) -> None:
        self.private: dict[str, bool] = {}
        self.files: dict[str, dict[str, dict[str, bytes]]] = {}
        self.tokens: set[str] = set()
        self.address = ""

    def create(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = f"{body['organization']}/{body['name']}"
        url = {"url": f"{self.address}/datasets/{name}"}
        if name in self.files:
            return 409, {"error": "exists", **url}
        private = body.get("visibility", "public") == "private" or bool(body.get("private"))
        self.private[name], self.files[name] = private, {"main": {}}
        return 200, url

    def commit(self, name: str, branch: dict[str, bytes], body: bytes) -> tuple[int, Any]:
        for line in body.decode().splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if value.get("parentCommit") not in (None, commit_of(branch)):
                return 412, {"error": "the branch has moved"}
            if operation["key"] == "file":
                branch[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "deletedFile":
                del branch[value["path"]]
        oid = "0" * 40
        return 200, {"commitUrl": f"{self.address}/datasets/{name}/commit/{oid}", "commitOid": oid}

    def file(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        """A file's bytes, and the headers by which the client caches it."""
        found = re.fullmatch(r"/datasets/(\w+/\w+)/resolve/([^/]+)/(.+)", path)
        if found is None:
            return None
        branch = self.branch(found[1], unquote(found[2]))
        data = None if branch is None else branch.get(unquote(found[3]))
        if branch is None or data is None:
            return None
        etag = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit_of(branch)}
        return data, etag

    def branch(self, name: str, revision: str) -> dict[str, bytes] | None:
        """Files of a branch, by its name or its last commit."""
        branches = self.files.get(name, {})
        by_commit = {commit_of(files): files for files in branches.values()}
        return branches.get(revision, by_commit.get(revision))

    def answer(self, method: str, path: str, body: bytes) -> tuple[Any, ...]:
        """Status, content, and headers if there are any."""
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        found = re.fullmatch(r"/api/datasets/(\w+/\w+)(?:/(\w+)/([^/]+))?", path)
        if found is None or found[1] not in self.files:
            return 404, {"error": f"no {path}"}, {"X-Error-Code": "RepoNotFound"}
        branches, call, name = self.files[found[1]], found[2], unquote(found[3] or "main")
        if method == "POST" and call == "branch":
            branches.setdefault(name, dict(branches["main"]))
            return 200, {}
        branch = self.branch(found[1], name)
        if branch is None:
            return 404, {"error": f"no {name}"}, {"X-Error-Code": "RevisionNotFound"}
        if call == "preupload":
            plain = {"uploadMode": "regular", "shouldIgnore": False}
            return 200, {"files": [{"path": f["path"], **plain} for f in json.loads(body)["files"]]}
        if call == "commit":
            return self.commit(found[1], branch, body)
        if call == "tree":
            return 200, [
                {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
                for path, data in branch.items()
            ]
        return 200, {
            "id": found[1], "sha": commit_of(branch), "siblings": [], "private": True,
        }  # fmt: skip


def commit_of(branch: dict[str, bytes]) -> str:
    """A commit's id, from the files."""
    return hashlib.sha1(repr(sorted(branch.items())).encode()).hexdigest()


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub on loopback while the block lasts."""
    own = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own.tokens.add(self.headers.get("Authorization", ""))
            length = int(self.headers.get("Content-Length") or 0)
            body, path = self.rfile.read(length), urlsplit(self.path).path
            file = own.file(path)
            if file is None:
                status, answer, *more = own.answer(self.command, path, body)
                data, headers = json.dumps(answer).encode(), dict(*more)
            else:
                status, (data, headers) = 200, file
            self.send_response(status)
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_POST = do_HEAD = do_GET

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    own.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield own
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
