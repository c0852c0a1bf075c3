"""The Helm chart, rendered by the real helm."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
CHART = REPOSITORY / "charts" / "thinksafe"
VALUE_SETS = ("default", "trial", "disconnected", "multi-user", "hardened")
NAMESPACE = "kubeflow"

Manifest = dict[str, Any]


def tool(name: str) -> str:
    """Return the path of helm or kubectl; skips where .ci/helm has not run."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here: `make helm` installs it")
    return found


def value_set(name: str) -> Path:
    return CHART / "ci" / f"{name}-values.yaml"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([tool("helm"), *arguments], capture_output=True, text=True, timeout=60, check=False)


def template(*files: Path, values: Any = None, folder: Path | None = None, namespace: str = NAMESPACE) -> Any:
    """Run helm template; ``values``, laid over the files, go through a file of JSON in ``folder``."""
    paths = list(files)
    if values is not None:
        assert folder is not None
        paths.append(folder / "values.json")
        # JSON's escapes of a pair of surrogates are no YAML, and a raw line separator in it would be folded
        text = re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(values, ensure_ascii=False))
        paths[-1].write_text(text, "utf-8")
    options = [option for path in paths for option in ("--values", str(path))]
    return helm("template", "safe", str(CHART), "--namespace", namespace, *options)


def manifests(
    *files: Path, values: Any = None, folder: Path | None = None, namespace: str = NAMESPACE
) -> list[Manifest]:
    """Return the rendered manifests."""
    done = template(*files, values=values, folder=folder, namespace=namespace)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refusal(*files: Path, values: Any, folder: Path, namespace: str = NAMESPACE) -> str:
    """Return what helm says to values that it must refuse."""
    done = template(*files, values=values, folder=folder, namespace=namespace)
    assert done.returncode != 0, "accepted"
    assert done.stdout == ""
    return done.stderr


def one(found: list[Manifest], kind: str, ending: str) -> Manifest:
    """Return the one manifest of a kind whose name has an ending."""
    (match,) = [item for item in found if item["kind"] == kind and item["metadata"]["name"].endswith(ending)]
    return match


def granted_to_runs(found: list[Manifest]) -> set[tuple[str, str, str]]:
    """Return the rights of the pods of runs: API group, resource and verb of each."""
    return {
        right for rule in one(found, "Role", "-pipeline")["rules"]
        for right in itertools.product(rule["apiGroups"], rule["resources"], rule["verbs"])
    }


def pods(found: list[Manifest]) -> list[Manifest]:
    """Return the pod specs of all manifests."""
    specs = [item["spec"]["template"]["spec"] for item in found if item["kind"] in ("Deployment", "Job")]
    specs += [item["spec"]["jobTemplate"]["spec"]["template"]["spec"] for item in found if item["kind"] == "CronJob"]
    return specs + [item["spec"] for item in found if item["kind"] == "Pod"]


def config_text(found: list[Manifest]) -> str:
    """Return the config document."""
    text: str = one(found, "ConfigMap", "-config")["data"]["config.yaml"]
    return text


def as_kubernetes_reads(text: str) -> list[Manifest]:
    """Return the objects of a YAML text as Kubernetes' own parser reads them; each has the annotation ``seen`` then."""
    done = subprocess.run(
        [tool("kubectl"), "annotate", "--local", "--filename", "-", "seen=yes", "--output", "json"],
        input=text, capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr
    decoder, at, read = json.JSONDecoder(), 0, []
    while at < len(done.stdout.rstrip()):
        item, at = decoder.raw_decode(done.stdout, at)
        at += 1
        read.append(item)
    return read
