"""Which addresses only pods reach."""

from __future__ import annotations

import pytest

from thinksafe.doctor.inside import only_inside


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("http://mlflow.mlflow.svc:5000", True), ("http://mlflow.mlflow.svc.cluster.local:5000/x", True),
        ("http://ml-pipeline:8888", True), ("http://minio.kubeflow:9000", True), ("http://MLFLOW.team.svc.", True),
        ("http://minio.elsewhere:9000", False), ("https://example.com", False), ("https://svc.example.com", False),
        ("http://a.svc", False), ("http://localhost:8888", False), ("http://10.0.0.1:9000", False),
        ("http://[::1]:9000", False), ("", False),
    ],
)
def test_names_of_the_cluster(address: str, inside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert only_inside(address, {"kubeflow"}) is inside
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert not only_inside(address, {"kubeflow"})
