"""Check that something ends runs whose pods do not start: neither Kubernetes nor Kubeflow does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from thinksafe.doctor.checks import Finding, ok, warning
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError

CHECK = "end-stuck"
"""Also the end of the CronJob's name in the chart."""


def start_findings(api: KubernetesClient) -> Iterator[Finding]:
    """Yield whether the namespace has the chart's CronJob; nothing if this account may not list CronJobs."""
    with suppress(ForbiddenError):
        jobs = [job for job in api.find("CronJob") if not (job.get("spec") or {}).get("suspend")]
        found = [name for job in jobs if (name := job["metadata"]["name"]).endswith(CHECK)]
        if found:
            yield ok(CHECK, f"The CronJob {found[0]} ends runs whose pods do not start.")
        else:
            yield warning(
                CHECK, "Nothing ends a run whose pod does not start, for example because an image is missing.",
                "Set the chart's endStuck.enabled, start `thinksafe end-stuck` regularly, or use `submit --wait`.",
            )
