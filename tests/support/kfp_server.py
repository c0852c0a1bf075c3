"""A server that speaks as much of KFP's v2beta1 API over HTTP as publishing needs, with the backend's refusals.

Names are unique in a namespace (409), multi-user mode asks for a namespace (400), single-user mode refuses one (400),
a token is checked where there is one (401), runs need what they refer to and the parameters that have no default. What
is refused in the requests themselves (filters, page tokens, names, crons, files) stands in ``kfp_rules``.

As on a real backend, a recurring run that is deleted takes the workflows of its runs along: those under way are lost,
and nothing ever changes their state again. One that is disabled keeps them. What runs the runs is somebody else's
business (``kfp_backend``); without that, they stay as they are.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from kfp_rules import Refusal, message, name_of, page, schedule, specification

UNDER_WAY = ("PENDING", "RUNNING", "CANCELING")


@dataclass
class KfpServer:
    """What the server holds, and what it was asked to change."""

    multi_user: bool = False
    token: str = ""
    fail: dict[str, int] = field(default_factory=dict)
    """Path prefix -> status of every request below it."""
    address: str = ""
    pipelines: list[dict[str, Any]] = field(default_factory=list)
    versions: list[dict[str, Any]] = field(default_factory=list)
    experiments: list[dict[str, Any]] = field(default_factory=list)
    recurring_runs: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Ids of runs whose workflow went while it ran."""
    packages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Version id -> documents of its file."""
    changes: list[str] = field(default_factory=list)
    """Method and path of every request that is no GET."""
    before_create: Any = None
    """Called once before the next thing is made, as another installation would interfere."""

    started: Callable[[dict[str, Any]], None] = lambda run: None
    """Told of each run that was made."""
    ended: Callable[[str, bool], None] = lambda run_id, deleted: None
    """Told of each run that somebody ended: terminated, or its workflow deleted."""

    def fire(self, recurring_run_id: str, state: str = "RUNNING") -> str:
        """Start a run of a recurring run, as the backend does when its time has come; returns the run's id."""
        of = known(self.recurring_runs, "recurring_run_id", recurring_run_id)
        assert of["mode"] == "ENABLE"
        taken = (
            "experiment_id", "recurring_run_id", "display_name", "pipeline_version_reference", "runtime_config",
            "service_account",
        )
        run = self._add(self.runs, "run_id", {key: of[key] for key in taken if key in of}, state=state)
        self.started(run)
        return str(run["run_id"])

    def finish(self, run_id: str, state: str = "SUCCEEDED") -> None:
        """End a run, of which the server hears from its workflow only."""
        if run_id not in self.lost:
            known(self.runs, "run_id", run_id)["state"] = state

    def namespace(self, given: str) -> str:
        if self.multi_user and not given:
            raise Refusal(400, "namespace is empty in multi-user mode")
        if not self.multi_user and given:
            raise Refusal(400, "in single-user mode no namespace may be given")
        return given

    def get(self, path: list[str], query: dict[str, str]) -> dict[str, Any]:
        match path:
            case ["healthz"]:
                return {"multi_user": self.multi_user}
            case ["pipelines"]:
                return page("pipelines", self._of(self.pipelines, query), query)
            case ["pipelines", pipeline]:
                return known(self.pipelines, "pipeline_id", pipeline)
            case ["pipelines", pipeline, "versions"]:
                of = [version for version in self.versions if version["pipeline_id"] == pipeline]
                return page("pipeline_versions", of, query)
            case ["experiments"]:
                return page("experiments", self._of(self.experiments, query), query)
            case ["recurringruns"]:
                return page("recurringRuns", self._in_experiment(self.recurring_runs, query), query)
            case ["runs"]:
                return page("runs", self._in_experiment(self.runs, query), query)
            case ["runs", name]:
                return known(self.runs, "run_id", name)
            case ["recurringruns", name]:
                return known(self.recurring_runs, "recurring_run_id", name)
        raise Refusal(404, "not found")

    def post(self, path: list[str], query: dict[str, str], body: Any) -> dict[str, Any]:
        if self.before_create is not None and ":" not in path[-1]:
            act, self.before_create = self.before_create, None
            act()
        match path:
            case ["pipelines"]:
                space = self.namespace(message("pipelines", body).get("namespace", ""))
                return self._add(self.pipelines, "pipeline_id", body, "display_name", "namespace", namespace=space)
            case ["pipelines", "upload_version"]:
                known(self.pipelines, "pipeline_id", query["pipelineid"])
                documents = parsed(body)
                version = {"display_name": name_of(query["name"]), "pipeline_id": query["pipelineid"]}
                made = self._add(self.versions, "pipeline_version_id", version, "display_name", "pipeline_id")
                self.packages[made["pipeline_version_id"]] = documents
                return made
            case ["experiments"]:
                space = self.namespace(message("experiments", body).get("namespace") or "")
                return self._add(
                    self.experiments, "experiment_id", body, "display_name", "namespace", namespace=space
                )
            case ["recurringruns"]:
                self._refers(message("recurringruns", body))
                schedule(body)
                return self._add(self.recurring_runs, "recurring_run_id", body)
            case ["recurringruns", action] if action.endswith(":disable"):
                name = action.removesuffix(":disable")
                known(self.recurring_runs, "recurring_run_id", name)["mode"] = "DISABLE"
                return {}
            case ["runs"]:
                self._refers(message("runs", body))
                run = self._add(self.runs, "run_id", body, state="PENDING")
                self.started(run)
                return run
            case ["runs", action] if action.endswith(":terminate"):
                run = known(self.runs, "run_id", action.removesuffix(":terminate"))
                if run["state"] not in UNDER_WAY:
                    raise Refusal(400, "the run has ended")
                run["state"] = "CANCELING"
                self.ended(run["run_id"], False)
                return {}
        raise Refusal(404, "not found")

    def delete(self, path: list[str]) -> dict[str, Any]:
        match path:
            case ["recurringruns", name]:
                self.recurring_runs.remove(known(self.recurring_runs, "recurring_run_id", name))
                of = [run for run in self.runs if run.get("recurring_run_id") == name]
                lost = [run["run_id"] for run in of if run["state"] in UNDER_WAY]
                self.lost += lost
                for run_id in lost:
                    self.ended(run_id, True)
                return {}
            case ["runs", name]:
                self.runs.remove(known(self.runs, "run_id", name))
                self.ended(name, True)
                return {}
            case ["experiments", name]:
                self.experiments.remove(known(self.experiments, "experiment_id", name))
                return {}
            case ["pipelines", name]:
                if any(version["pipeline_id"] == name for version in self.versions):
                    raise Refusal(400, "the pipeline has versions")
                self.pipelines.remove(known(self.pipelines, "pipeline_id", name))
                return {}
            case ["pipelines", _, "versions", name]:
                self.versions.remove(known(self.versions, "pipeline_version_id", name))
                return {}
        raise Refusal(404, "not found")

    def _of(self, items: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        space = self.namespace(query.get("namespace", ""))
        return [item for item in items if item.get("namespace", "") == space]

    def _in_experiment(self, items: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        if "experiment_id" in query:
            known(self.experiments, "experiment_id", query["experiment_id"])
            return [item for item in items if item["experiment_id"] == query["experiment_id"]]
        spaces = {item["experiment_id"]: item["namespace"] for item in self.experiments}
        space = self.namespace(query.get("namespace", ""))
        return [item for item in items if spaces[item["experiment_id"]] == space]

    def _refers(self, body: dict[str, Any]) -> None:
        known(self.experiments, "experiment_id", body["experiment_id"])
        reference = body["pipeline_version_reference"]
        version = known(self.versions, "pipeline_version_id", reference["pipeline_version_id"])
        spec = self.packages[version["pipeline_version_id"]][0]
        parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = body["runtime_config"].get("parameters", {})
        if unknown := set(given) - set(parameters):
            raise Refusal(400, f"unknown parameters {unknown}")
        needed = {name for name, value in parameters.items() if not value.get("isOptional")}
        if missing := needed - set(given):
            raise Refusal(400, f"missing parameters {missing}")

    def _add(
        self, items: list[dict[str, Any]], key: str, body: dict[str, Any], *unique: str, **more: Any
    ) -> dict[str, Any]:
        made = {**body, **more, key: str(uuid.uuid4()), "created_at": "2026-01-01T00:00:00Z"}
        if unique and any(all(item.get(name) == made.get(name) for name in unique) for item in items):
            raise Refusal(409, "the name already exists")
        items.append(made)
        return made


def known(items: list[dict[str, Any]], key: str, value: str) -> dict[str, Any]:
    for item in items:
        if item[key] == value:
            return item
    raise Refusal(404, f"no {key} {value}")


def parsed(text: bytes) -> list[dict[str, Any]]:
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise Refusal(400, "not YAML") from error
    specification(documents)
    return documents


def _handler(server: KfpServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, value = 200, self.result(body)
            except Refusal as refusal:
                status, value = refusal.status, {"code": 1, "message": str(refusal)}
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def result(self, body: bytes) -> dict[str, Any]:
            url = urlsplit(self.path)
            prefix, path = "/apis/v2beta1/", url.path
            if server.token and self.headers.get("Authorization") != f"Bearer {server.token}":
                raise Refusal(401, "unauthenticated")
            for start, status in server.fail.items():
                if path.startswith(prefix + start):
                    raise Refusal(status, "told to fail")
            if not path.startswith(prefix):
                raise Refusal(404, "not found")
            parts = path.removeprefix(prefix).split("/")
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            if self.command == "GET":
                return server.get(parts, query)
            server.changes.append(f"{self.command} {'/'.join(parts[:2])}")
            if self.command == "DELETE":
                return server.delete(parts)
            kind = self.headers.get("Content-Type", "")
            if kind.startswith("multipart/"):
                whole = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
                (part,) = whole.get_payload()
                return server.post(parts, query, part.get_payload(decode=True))
            return server.post(parts, query, json.loads(body or b"{}"))

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names of the base class

        def log_message(self, *values: object) -> None:
            pass

    return Handler


@contextmanager
def kfp_server(**settings: Any) -> Iterator[KfpServer]:
    """Run a server while the context lasts."""
    server = KfpServer(**settings)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.address = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
