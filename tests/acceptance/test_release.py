"""A release: installed, and looked at by the doctor."""

from __future__ import annotations

from collections.abc import Callable

from accepting.cluster import Cluster
from accepting.leftovers import Leftovers
from accepting.release import Release


def test_install(cluster: Cluster, release: Callable[[], Release]) -> None:
    """The hook has published both pipelines, and nothing is left of it."""
    installed = release()
    names = {one.display_name for one in cluster.kfp.list_pipelines(
        namespace=cluster.settings.namespace if cluster.settings.multi_user else None, page_size=100,
        filter=f'{{"predicates": [{{"operation": "IS_SUBSTRING", "key": "name", "stringValue": "{installed.name}"}}]}}',
    ).pipelines or ()}
    assert names == {f"{installed.name}-realign", f"{installed.name}-evaluate"}
    assert not cluster.get("jobs", labels=f"app.kubernetes.io/instance={installed.name}")


def test_doctor(cluster: Cluster, release: Callable[[], Release]) -> None:
    """``helm test`` finds nothing that failed, and says so."""
    done = cluster.helm("test", release().name, "--logs")
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 failed" in done.stdout


def test_second_release_beside_the_first(cluster: Cluster, release: Callable[[], Release]) -> None:
    """A second release has pipelines of its own; its removal leaves the first alone."""
    first, second = release(), Release(cluster, "second").install()
    assert cluster.helm("test", second.name).returncode == 0
    done = second.uninstall()
    assert done.returncode == 0, done.stdout + done.stderr
    assert Leftovers(cluster).releases() == [first.name]
    assert cluster.get("serviceaccounts", labels=f"app.kubernetes.io/instance={second.name}") == []
    assert len(cluster.get("serviceaccounts", labels=f"app.kubernetes.io/instance={first.name}")) >= 2
