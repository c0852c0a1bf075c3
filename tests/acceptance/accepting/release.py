"""A release of the chart, as an operator installs it."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from accepting.cluster import Cluster, Ended
from accepting.runs import Run, submitted
from accepting.settings import LABEL

CHART = Path(__file__).parents[3] / "charts" / "thinksafe"
LIGHT = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}


def laid(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return values with others laid over them."""
    made = deepcopy(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(made.get(key), dict)
        made[key] = laid(made[key], value) if both else deepcopy(value)
    return made


def image(text: str) -> dict[str, str]:
    """Return an image as the chart takes it."""
    name, _, digest = text.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, ""
    given = {"repository": repository, "tag": tag, "digest": digest}
    return {key: value for key, value in given.items() if value}


class Release:
    """A release, with pipelines, experiment, model and place in the bucket of its own.

    Args:
        cluster: Where.
        name: Ending of its name.
        values: Values of the chart that differ from those of the session.
    """

    def __init__(self, cluster: Cluster, name: str, /, **values: Any) -> None:
        self.cluster, self.name = cluster, f"accept-{cluster.session}-{name}"
        self.store = f"accept/{cluster.session}/{name}"
        settings = cluster.settings
        own = {
            "config": {"extends": "micro", "name": self.name, "registry": {"model": self.name}, **settings.config},
            "cluster": {
                "store": f"s3://{settings.bucket}/{self.store}", "pipeline_root": settings.pipeline_root,
                "s3": {"endpoint": settings.s3, "secret": {"name": secret_name(cluster)}},
                "kfp": {
                    "pipeline": f"{self.name}-realign", "experiment": self.name, "multi_user": settings.multi_user,
                    **({} if settings.multi_user else {"namespace": settings.namespace}),
                },
                "mlflow": {"uri": settings.mlflow}, "stages": {"default": LIGHT},
            },
            "images": {
                "cpu": image(settings.cpu), "sampler": image(settings.sampler), "trainer": image(settings.trainer),
            },
            "mlflow": {"enabled": not settings.mlflow},
            "extraLabels": {LABEL: cluster.session},
        }
        self.values = laid(laid(own, settings.values), values)

    @property
    def full(self) -> str:
        """Beginning of the names of its objects."""
        return self.name if "thinksafe" in self.name else f"{self.name}-thinksafe"

    def helm(self, verb: str, *options: str, **values: Any) -> Ended:
        """Install or upgrade; ``values`` change those of the release for good."""
        self.values = laid(self.values, values)
        path = self.cluster.folder / f"{self.name}.json"
        path.write_text(json.dumps(self.values))
        wait = [] if self.cluster.settings.mlflow else ["--wait"]
        return self.cluster.helm(verb, self.name, str(CHART), "--values", str(path), *wait, *options)

    def install(self, **values: Any) -> Release:
        """Install it, and return it."""
        done = self.helm("install", **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return self

    def upgrade(self, **values: Any) -> Ended:
        done = self.helm("upgrade", **values)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def uninstall(self, *options: str) -> Ended:
        return self.cluster.helm("uninstall", self.name, *options)

    def config(self) -> str:
        """Return the file with the config document that runs use, fetched as the chart's notes say."""
        done = self.cluster.kubectl(
            "get", "configmap", f"{self.full}-config", "--output", "jsonpath={.data.config\\.yaml}"
        )
        assert done.returncode == 0, done.stderr
        path = self.cluster.folder / f"{self.name}-config.yaml"
        path.write_text(done.stdout)
        return str(path)

    def command(self, command: str, *options: str, **keys: Any) -> Ended:
        """Run a ``thinksafe`` command on the release's config; ``keys`` are overrides, with ``__`` for dots."""
        overrides = [text for key, value in keys.items() for text in ("--set", f"{key.replace('__', '.')}={value}")]
        return self.cluster.thinksafe(command, self.config(), *self.cluster.reach, *options, *overrides)

    def submit(self, *options: str, store: str = "", **keys: Any) -> Run:
        """Start a run; with ``store`` in a place of its own, with a model of its own, so that it finds nothing made."""
        place = f"{self.store}-{store}" if store else self.store
        if store:
            own = {"cluster__store": f"s3://{self.cluster.settings.bucket}/{place}"}
            keys = {**own, "registry__model": f"{self.name}-{store}", **keys}
        done = self.command("submit", *options, **keys)
        assert done.returncode == 0, done.stdout + done.stderr
        return Run(self.cluster, submitted(done.stdout), place)


def secret_name(cluster: Cluster) -> str:
    """Return the name of the Secret with the credentials of the bucket."""
    return f"accept-{cluster.session}-s3"
