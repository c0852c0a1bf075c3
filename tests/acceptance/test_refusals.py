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


def test_image_missing(cluster: Cluster, release: Callable[[], Release]) -> None:
    """An image that nobody has ends the stage with the kubelet's words."""
    run = release().submit(
        store="image", sampling__parallelism=2, cluster__images__sampler="registry.invalid/accept/none:1",
        **ONCE, **SOON,
    )
    assert run.wait(seconds=1200) == "FAILED"
    assert "registry.invalid/accept/none" in run.words() or "ImagePull" in run.words()


def test_secret_missing(cluster: Cluster, release: Callable[[], Release]) -> None:
    """The doctor names the Secret; a pod says that it waits for it, and ``end-stuck`` ends the run for that reason."""
    name = f"accept-{cluster.session}-none"
    keys = {"cluster__s3__secret__name": name, **SOON}
    done = release().command("doctor", "--cluster", **keys)
    assert done.returncode == 1, done.stdout + done.stderr
    assert name in done.stdout
    run = release().submit(store="secret", **keys)

    def waiting() -> list[str]:
        return [said for said in map(state_of, run.pods()) if "CreateContainerConfigError" in said]

    said = until("a pod that waits", waiting, 300 * cluster.settings.patience)
    assert name in said[0]
    assert run.state not in ENDED, "Kubeflow does not notice"

    def ended() -> str:
        done = release().command("end-stuck", **keys)
        return done.stdout + done.stderr if run.run_id in done.stdout + done.stderr else ""

    assert name in until("end-stuck to end the run", ended, 300 * cluster.settings.patience, 15.0)
    assert run.wait(seconds=600) in ("FAILED", "CANCELED")


def test_bucket_missing(cluster: Cluster, release: Callable[[], Release]) -> None:
    """The first stage says that there is no such bucket."""
    place = f"s3://accept-{cluster.session}-none/runs"
    assert "There is no bucket" in failed(release().submit(cluster__store=place, **ONCE))


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
