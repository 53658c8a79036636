"""A W&B server in miniature: what W&B's library asks of one while it creates, resumes and ends runs, kept in memory."""

import gzip
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef0123456789abcdef01234567"
"""of the form of an API key"""


@dataclass
class ServedRun:
    """What the server knows of one run."""

    attributes: dict[str, Any] = field(default_factory=dict)
    """the variables of the request that created it"""
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    """history by line number"""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        assert sorted(self.lines) == list(range(len(self.lines)))
        return [self.lines[number] for number in sorted(self.lines)]


class Server:
    """The runs by (project, id), and how long every answer takes."""

    def __init__(self, port: int, delay: float):
        self.runs: dict[tuple[str, str], ServedRun] = {}
        self.uploads: set[str] = set()
        self.delay = delay
        outer = self

        class Handler(_Handler):
            server_state = outer

        self.faults: list[BaseException] = []
        self._http = _Http(("127.0.0.1", port), Handler)
        self._http.faults = self.faults
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def ask(self, operation: str, v: dict[str, Any]) -> dict[str, Any]:
        """The answer to a GraphQL request."""
        if operation == "RunResumeStatus":
            return {"model": self._known(v["project"], v["name"])}
        if operation == "UpsertBucket":
            key = (v["project"], v["name"])
            inserted = key not in self.runs
            run = self.runs.setdefault(key, ServedRun())
            run.attributes |= {name: value for name, value in v.items() if value is not None}
            project = {"id": "project", "name": v["project"], "entity": {"id": "entity", "name": "me"}}
            bucket = {"id": "/".join(key), "name": v["name"], "displayName": run.attributes.get("displayName")}
            bucket |= {"project": project, "historyLineCount": len(run.lines), "config": "{}"}
            return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{v['run']}/{name}"} for name in v["files"]]
            return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}
        if operation == "Viewer":
            return {"viewer": {"id": "user", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}}
        if operation == "CreateArtifact":
            about = {"id": "artifact", "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None}}
            return {"createArtifact": {"artifact": about}}
        if operation == "CreateArtifactManifest":
            file = {"id": "file", "uploadUrl": f"{self.url}/upload/artifact/{v['name']}", "uploadHeaders": []}
            return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": file}}}
        if operation == "CreateArtifactFiles":
            edges = [{"node": self._artifact_file(spec["name"])} for spec in v["input"]["artifactFiles"]]
            return {"createArtifactFiles": {"files": {"edges": edges}}}
        if operation == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": "digest"}}}
        return {"project": None, "artifact": self._artifact() if v.get("id") == "artifact" else None}

    def _artifact(self) -> dict[str, Any]:
        """The one artifact, after it was committed."""
        sequence = {"__typename": "ArtifactSequence", "name": "report", "project": None}
        about = {"__typename": "Artifact", "id": "artifact", "artifactSequence": sequence, "versionIndex": 0}
        about |= {"artifactType": {"name": "report"}, "description": None, "metadata": None, "ttlDurationSeconds": -2}
        about |= {"ttlIsInherited": True, "tags": [], "historyStep": None, "state": "COMMITTED", "size": 1}
        about |= {"digest": "digest", "digestAlgorithm": None, "commitHash": "0", "fileCount": 1, "aliases": []}
        return about | {"createdAt": "2026-01-01T00:00:00Z", "updatedAt": None}

    def _artifact_file(self, name: str) -> dict[str, Any]:
        url = f"{self.url}/upload/artifact/{name}"
        parts = {"storagePath": name, "uploadUrl": url, "uploadHeaders": [], "uploadMultipartUrls": None}
        return parts | {"artifact": {"id": "artifact"}}

    def _known(self, project: str, name: str) -> dict[str, Any]:
        entity = {"id": "entity", "name": "me"}
        run = self.runs.get((project, name))
        if run is None:
            return {"id": "project", "name": project, "entity": entity, "bucket": None}
        last = [json.dumps(line) for line in run.history[-1:]]
        bucket = {
            "id": f"{project}/{name}",
            "name": name,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.attributes.get("displayName"),
            "logLineCount": 0,
            "historyLineCount": len(run.lines),
            "eventsLineCount": 0,
            "historyTail": json.dumps(last),
            "eventsTail": "[]",
            "config": run.attributes.get("config", "{}"),
            "tags": run.attributes.get("tags", []),
            "notes": None,
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"id": "project", "name": project, "entity": entity, "bucket": bucket}

    def stream(self, project: str, name: str, body: dict[str, Any]) -> None:
        """Take a part of a run's files."""
        run = self.runs[project, name]
        files = body.get("files") or {}
        history = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        for number, line in enumerate(history["content"], history["offset"]):
            assert number not in run.lines, f"line {number} of {name} was sent twice"
            run.lines[number] = json.loads(line)
        for line in files.get("wandb-summary.json", {"content": []})["content"]:
            run.summary = json.loads(line)
        if body.get("complete"):
            run.exit_code = body.get("exitcode")


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    faults: list[BaseException]

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):  # a client may hang up
            self.faults.append(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Server

    def do_POST(self) -> None:
        body, state = self._body(), self.server_state
        time.sleep(state.delay)
        parts = self.path.strip("/").split("/")
        answer: dict[str, Any] = {}
        if self.path == "/graphql":
            question = json.loads(body)
            answer = {"data": state.ask(question.get("operationName", ""), question.get("variables") or {})}
        elif parts[-1] == "file_stream":
            state.stream(parts[2], parts[3], json.loads(body))
        else:
            state.uploads.add(self.path)
        self._say(json.dumps(answer).encode())

    do_PUT = do_POST

    def do_GET(self) -> None:
        self._say(b"{}", 404)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _say(self, body: bytes, code: int = 200) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def serving(port: int = 0, delay: float = 0.0) -> Iterator[Server]:
    """A server on this machine, `delay` seconds slow."""
    server = Server(port, delay)
    try:
        yield server
    finally:
        server.close()
    assert not server.faults
