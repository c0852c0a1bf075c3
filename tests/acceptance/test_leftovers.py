"""The last case: the suite removes what it made."""

from __future__ import annotations

from accepting.cluster import Cluster
from accepting.leftovers import Leftovers
from accepting.waiting import until


def test_nothing_is_left(cluster: Cluster) -> None:
    """After the removal nothing of the session is found in Kubernetes, Kubeflow, or the bucket."""
    leftovers = Leftovers(cluster)
    leftovers.remove()

    def found() -> list[object]:
        kubeflow = [one for some in leftovers.kubeflow().values() for one in some]
        return [*leftovers.kubernetes(), *leftovers.releases(), *leftovers.keys(), *kubeflow]

    limit = 300 * cluster.settings.patience
    until("everything to be gone", lambda: not found(), limit)
