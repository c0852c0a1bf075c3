"""What is missing or wrong is said in words that name it, and a run that cannot go on ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from accepting.cluster import Cluster
from accepting.release import Release, secret_name
from accepting.runs import ENDED, Run, state_of
from accepting.waiting import until

ONCE = {"cluster__stages__default__retries__count": 0}
SOON = {"cluster__stages__default__start_within": "1m"}
RESOURCE = "accept.thinksafe.test/gpu"
"""A resource that no node has: a quota on it concerns nobody else."""


def failed(run: Run) -> str:
    """Wait for the bad end of a run, and return what its stages and pods said."""
    state = run.wait(seconds=1200)
    assert state == "FAILED", state
    return run.log("plan")


def test_quota_too_small(cluster: Cluster, release: Callable[[], Release]) -> None:
    """A stage whose Job gets no pods, since a quota refuses them, ends after its time and says so."""
    name = f"accept-{cluster.session}-quota"
    cluster.make("ResourceQuota", name, spec={"hard": {f"requests.{RESOURCE}": "0"}})
    try:
        run = release().submit(
            store="quota", sampling__parallelism=2, cluster__stages__sample__gpu=f"{{type: {RESOURCE}, count: 1}}",
            **ONCE, **SOON,
        )
        assert run.wait(seconds=1200) == "FAILED"
        assert "has no pods after" in run.words()
        said = [one["message"] for one in cluster.get("events") if one["reason"] == "FailedCreate"]
        assert [text for text in said if "exceeded quota" in text and name in text], "Kubernetes gives the reason"
    finally:
        cluster.delete("resourcequota", name)


def stuck(cluster: Cluster, release: Release, store: str, reason: str, word: str, **keys: Any) -> None:
    """Start a run of which a pod does not start: the pod says why, Kubeflow nothing, and ``end-stuck`` ends the run."""
    run = release.submit(store=store, **keys, **SOON)

    def waiting() -> list[str]:
        return [said for said in map(state_of, run.pods()) if reason in said]

    said = until(f"a pod in {reason}", waiting, 900 * cluster.settings.patience)
    assert word in said[0]
    assert run.state not in ENDED, "Kubeflow does not notice"

    def ended() -> str:  # by this, or by the chart's CronJob
        done = release.command("end-stuck", **keys, **SOON)
        assert done.returncode == 0, done.stdout + done.stderr
        return run.state if run.state in (*ENDED, "CANCELING") else ""

    until("the run to be ended", ended, 600 * cluster.settings.patience, 15.0)
    assert run.wait(seconds=600) in ("FAILED", "CANCELED")


def test_image_missing(cluster: Cluster, release: Callable[[], Release]) -> None:
    """An image that nobody has ends the run, and the pod has said so in the kubelet's words."""
    image = "registry.invalid/accept/none:1"
    stuck(cluster, release(), "image", "ImagePull", image, cluster__images__sampler=image)


def test_secret_missing(cluster: Cluster, release: Callable[[], Release]) -> None:
    """The doctor names the Secret, and so does the pod that waits for it."""
    name = f"accept-{cluster.session}-none"
    done = release().command("doctor", "--cluster", cluster__s3__secret__name=name)
    assert done.returncode == 1, done.stdout + done.stderr
    assert name in done.stdout
    stuck(
        cluster, release(), "secret", "CreateContainerConfigError", name, cluster__s3__secret__name=name
    )


def test_bucket_missing(cluster: Cluster, release: Callable[[], Release]) -> None:
    """The first stage says that there is no such bucket."""
    place = f"s3://accept-{cluster.session}-none/runs"
    assert "NoSuchBucket" in failed(release().submit(cluster__store=place, **ONCE))


def test_password_wrong(cluster: Cluster, release: Callable[[], Release]) -> None:
    """The first stage tells a wrong password from a missing right."""
    from botocore.exceptions import ClientError

    try:
        list(cluster.s3("wrong").Bucket(cluster.settings.bucket).objects.limit(1))
    except ClientError:
        pass
    else:
        pytest.skip("the S3 server checks no signatures")
    name = f"{secret_name(cluster)}-wrong"
    keys: dict[str, Any] = {"AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"], "AWS_SECRET_ACCESS_KEY": "wrong"}
    cluster.make("Secret", name, stringData=keys)
    said = failed(release().submit(store="password", cluster__s3__secret__name=name, **ONCE))
    assert "SignatureDoesNotMatch" in said
