"""Names that KFP's API takes, and what it refuses: with KFP's own client against the strict server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_configs import cluster_document
from kfp_rules import LONGEST_NAME
from kfp_server import KfpServer, kfp_server
from kfp_server_api import ApiException

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe_pipelines.kfp import publishing
from thinksafe_pipelines.kfp.access import connect, speaking

PACKAGE = json.dumps({
    "pipelineInfo": {"name": "realign"}, "schemaVersion": "2.1.0", "sdkVersion": "kfp-2.17.0", "root": {},
    "components": {}, "deploymentSpec": {},
})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KfpServer]:
    def compiled(
        name: str, text: str, overrides: list[str], path: Any, *, cluster: ClusterSettings, author: str
    ) -> Any:
        path.write_text(PACKAGE)
        return path

    monkeypatch.setattr(publishing, "compile_pipeline", compiled)
    with kfp_server() as running:
        yield running


def settings(server: KfpServer, **kfp: Any) -> ClusterSettings:
    cluster = load_config(cluster_document(kfp={"host": server.address, **kfp})).cluster
    assert cluster is not None
    return cluster


@pytest.fixture
def client(server: KfpServer) -> Any:
    return connect(settings(server))


@pytest.mark.parametrize(
    "experiment", ['our "safe" models', "o'neil", "a\\b", "100% {x}", "é\u2028 \U0001f600", "a&b=c#d"]
)
def test_experiments_of_any_name_are_found_again(server: KfpServer, experiment: str) -> None:
    cluster = settings(server, experiment=experiment)
    done = publish(cluster)
    assert [item["display_name"] for item in server.experiments] == [experiment]
    assert publish(cluster).changes == []
    assert publish(cluster).experiment_id == done.experiment_id


def publish(cluster: ClusterSettings) -> publishing.Published:
    return publishing.publish(cluster, "", [], schedule=False)


def test_a_name_in_other_letters_is_another_name(server: KfpServer) -> None:
    # the server's filters compare without case
    server.pipelines.append({"pipeline_id": "theirs", "display_name": "ThinkSafe-Realign", "namespace": ""})
    server.experiments.append({"experiment_id": "theirs", "display_name": "THINKSAFE", "namespace": ""})
    done = publish(settings(server))
    assert "theirs" not in (done.pipeline_id, done.experiment_id)
    assert publish(settings(server)).changes == []


REFUSED = [
    ({"filter": "display_name = x"}, "no JSON"), ({"filter": '{"predicate": []}'}, "no message"),
    ({"filter": '{"predicates": [{"operation": "LIKE", "key": "display_name", "stringValue": "x"}]}'}, "operation"),
    ({"filter": '{"predicates": [{"operation": "EQUALS", "key": "title", "stringValue": "x"}]}'}, "unrecognized"),
    ({"filter": '{"predicates": [{"operation": "EQUALS", "key": "name", "value": "x"}]}'}, "no fields"),
    ({"page_token": "7"}, "token"), ({"sort_by": "created_at downwards"}, "sort by"), ({"sort_by": "size"}, "sorting"),
    ({"page_size": -1}, "page size"),
]


@pytest.mark.parametrize(("query", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_the_server_refuses_lists_that_make_no_sense(client: Any, query: dict[str, Any], said: str) -> None:
    with pytest.raises(ApiException, match=said) as refused:
        client._pipelines_api.pipeline_service_list_pipelines(**query)
    assert refused.value.status == 400


def test_a_page_token_is_for_the_list_that_it_came_from(server: KfpServer, client: Any) -> None:
    server.pipelines += [
        {"pipeline_id": str(number), "display_name": f"p{number}", "namespace": ""} for number in range(5)
    ]
    first = client.list_pipelines(page_size=2)
    rest = client.list_pipelines(page_size=2, page_token=first.next_page_token)
    assert [item.display_name for item in first.pipelines + rest.pipelines] == ["p0", "p1", "p2", "p3"]
    with pytest.raises(ApiException, match="does not match"):
        client.list_pipelines(page_token=first.next_page_token, sort_by="created_at desc")


@pytest.mark.parametrize("name", ["", "x" * (LONGEST_NAME + 1)])
def test_the_server_refuses_names_that_are_none(client: Any, name: str) -> None:
    with pytest.raises(ApiException, match="the name"):
        client._experiment_api.experiment_service_create_experiment({"display_name": name})


def test_the_server_refuses_fields_that_it_does_not_have(client: Any) -> None:
    with pytest.raises(ApiException, match="no fields"):
        client._experiment_api.experiment_service_create_experiment({"display_name": "a", "titel": "b"})


def test_the_server_refuses_a_version_of_a_name_that_is_taken(server: KfpServer, client: Any, tmp_path: Any) -> None:
    done = publish(settings(server))
    path = tmp_path / "pipeline.yaml"
    path.write_text(PACKAGE)
    with speaking(settings(server, experiment="x")), pytest.raises(ApiException) as refused:
        client.upload_pipeline_version(str(path), done.version, pipeline_id=done.pipeline_id)
    assert refused.value.status == 409


@pytest.mark.parametrize(
    "changed",
    [{"cron_expression": "0 3 * * 0"}, {"cron_expression": "0 0 3 * * 7"}, {"max_concurrency": 11}],
)
def test_the_server_refuses_recurring_runs_that_make_no_sense(
    server: KfpServer, client: Any, changed: dict[str, Any]
) -> None:
    done = publish(settings(server))
    wanted = {
        "experiment_id": done.experiment_id, "job_name": "x", "cron_expression": "0 0 3 * * 0", "max_concurrency": 1,
        "pipeline_id": done.pipeline_id, "version_id": done.version_id,
    }
    with pytest.raises(ApiException) as refused:
        client.create_recurring_run(**{**wanted, **changed})
    assert refused.value.status == 400
