"""Checks for stages on several pods: may the account of runs start Jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from thinksafe.config.cluster import ClusterSettings
from thinksafe.doctor.checks import Finding
from thinksafe.doctor.rights import account_finding, job_rights
from thinksafe.kube.client import KubernetesClient

CHECK = "jobs"


def job_findings(cluster: ClusterSettings, api: KubernetesClient) -> Iterator[Finding]:
    """Yield the findings on Indexed Jobs; none if every stage does its work in one pod."""
    if not cluster.wide:
        return
    found = account_finding(
        CHECK, api, cluster.service_account, job_rights("Job"), "start and watch Jobs", home=cluster.namespace
    )
    if found.status == "failed":
        alone = "Or set sampling.parallelism and evaluation.parallelism to 1: one pod then does a stage's work."
        found = replace(found, action=f"{found.action} {alone}")
    yield found
