"""The cluster: Kubernetes by its client, kubectl and helm, Kubeflow's API, and the bucket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

from accepting.settings import LABEL, NotPossibleError, Settings
from accepting.waiting import until
from thinksafe.config.load import load_place
from thinksafe_pipelines.kfp.access import connect

Object = dict[str, Any]
Ended = subprocess.CompletedProcess[str]
SECURITY = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"}, "runAsUser": 10001, "runAsGroup": 10001,
}
RESOURCES = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}


class Cluster:
    """A namespace of a cluster with Kubeflow Pipelines.

    Args:
        settings: What the environment says about it.
        folder: For files of this session.
    """

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder, self.session = settings, folder, settings.session
        missing = [name for name in ("helm", "kubectl") if not _program(name)]
        if missing:
            raise NotPossibleError(f"{', '.join(missing)} not found: `make helm` installs them")

    def helm(self, *arguments: str, seconds: float = 600) -> Ended:
        """Run helm in the namespace."""
        return self._run(seconds, _program("helm"), *arguments, "--namespace", self.settings.namespace)

    def kubectl(self, *arguments: str, seconds: float = 120) -> Ended:
        """Run kubectl in the namespace."""
        return self._run(seconds, _program("kubectl"), *arguments, "--namespace", self.settings.namespace)

    def thinksafe(self, *arguments: str, seconds: float = 300) -> Ended:
        """Run the command of this checkout."""
        return self._run(seconds, str(Path(sys.executable).with_name("thinksafe")), *arguments)

    def _run(self, seconds: float, *command: str) -> Ended:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=seconds * self.settings.patience, check=False,
            env={**os.environ, "NO_COLOR": "1"}, cwd=self.folder,
        )

    @property
    def reach(self) -> list[str]:
        """Options of ``thinksafe`` with which this machine reaches Kubeflow's API."""
        access = "token" if os.environ.get("KFP_TOKEN") else "in-cluster" if self.settings.kfp else "port-forward"
        given = {"cluster.kfp.access": access, "cluster.kfp.host": self.settings.kfp or "''"}
        return [text for key, value in given.items() for text in ("--set", f"{key}={value}")]

    @cached_property
    def kfp(self) -> Any:
        """Kubeflow's client."""
        settings = self.settings
        multi_user = [f"cluster.kfp.multi_user={str(settings.multi_user).lower()}"]
        namespace = [f"cluster.namespace={settings.namespace}"]
        kubeflow = settings.values.get("cluster", {}).get("kfp", {}).get("namespace", settings.namespace)
        return connect(load_place([
            *self.reach[1::2], *multi_user, *namespace, f"cluster.kfp.namespace={kubeflow}",
        ]))

    @cached_property
    def api(self) -> Any:
        """The Kubernetes client."""
        from kubernetes import client, config

        configuration = client.Configuration()
        config.load_kube_config(os.environ["KUBECONFIG"], client_configuration=configuration)
        return client.ApiClient(configuration)

    @cached_property
    def core(self) -> Any:
        from kubernetes import client

        return client.CoreV1Api(self.api)

    @cached_property
    def bucket(self) -> Any:
        """The bucket, by boto3, as this machine sees it."""
        return self.s3(os.environ["AWS_SECRET_ACCESS_KEY"]).Bucket(self.settings.bucket)

    def s3(self, secret_key: str) -> Any:
        import boto3

        return boto3.resource(
            "s3", endpoint_url=self.settings.s3_outside or None, aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=secret_key, region_name=os.environ.get("AWS_REGION", "us-east-1"),
        )

    def labels(self, **more: str) -> dict[str, str]:
        return {LABEL: self.session, **more}

    def make(self, kind: str, name: str, version: str = "v1", **parts: Any) -> None:
        """Make an object with the session's label."""
        manifest = {
            "apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": self.labels()}, **parts,
        }
        path = self.folder / f"{kind.lower()}-{name}.json"
        path.write_text(json.dumps(manifest))
        path.chmod(0o600)
        done = self.kubectl("create", "--filename", str(path), "--validate=false")
        path.unlink()
        assert done.returncode == 0, done.stderr

    def delete(self, kind: str, name: str) -> None:
        done = self.kubectl("delete", kind, name, "--ignore-not-found", "--wait=false")
        assert done.returncode == 0, done.stderr

    def get(self, kind: str, name: str = "", labels: str = "") -> Any:
        """Return an object, or the objects with some labels."""
        chosen = [name] if name else ["--selector", labels] if labels else []
        done = self.kubectl("get", kind, *chosen, "--output", "json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        return found if name else found["items"]

    def has(self, resource: str) -> bool:
        """Return whether the cluster knows a kind, ``PLURAL.GROUP``, and we may list it here."""
        return self.kubectl("get", resource).returncode == 0

    def pods(self, **labels: str) -> list[Object]:
        """Return the pods with some labels, as JSON: the client's models refuse answers of other versions."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        answer = self.core.list_namespaced_pod(
            self.settings.namespace, label_selector=selector, _preload_content=False
        )
        return list(json.loads(answer.data)["items"])

    def run_pod(self, name: str, image: str, command: list[str], *, config: str = "", seconds: float = 1800) -> str:
        """Run a pod to its end, and return what it printed; ``config`` is a ConfigMap, mounted at ``/etc/accept``."""
        container: Object = {
            "name": "main", "image": image, "command": command[:1], "args": command[1:], "securityContext": SECURITY,
            "resources": RESOURCES, "env": [{"name": "HOME", "value": "/tmp"}],
        }
        spec: Object = {"restartPolicy": "Never", "containers": [container]}
        if config:
            container["volumeMounts"] = [{"name": "config", "mountPath": "/etc/accept"}]
            spec["volumes"] = [{"name": "config", "configMap": {"name": config}}]
        self.make("Pod", name, spec=spec)

        def phase() -> str:
            found = str(self.get("pod", name)["status"].get("phase"))
            return found if found in ("Succeeded", "Failed") else ""

        ended = until(f"the end of the pod {name}", phase, seconds * self.settings.patience, 2.0)
        text = self.kubectl("logs", name).stdout
        assert ended == "Succeeded", text[-3000:]
        self.delete("pod", name)
        return text


def _program(name: str) -> str:
    """Return the path of a program: the one beside this interpreter, else the one on PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name) or ""
