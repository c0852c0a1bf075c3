"""docs/operators.md: its examples work, its commands are those of the chart, its table is that of the recipes."""

from __future__ import annotations

import json
import re

import kubernetes_validate
import yaml
from helm_chart import REPOSITORY, config_text, manifests, one, value_set

from thinksafe.config import load_config
from thinksafe.config.load import recipe_names
from thinksafe.models.pins import require_pinned

PAGE = (REPOSITORY / "docs" / "operators.md").read_text("utf-8")


def _blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_smallest_values_install(tmp_path):
    (text,) = [block for block in _blocks("yaml") if "config:" in block]
    values = yaml.safe_load(text.replace("sha256:...", "sha256:" + "a" * 64))
    assert require_pinned(load_config(config_text(manifests(values=values, folder=tmp_path)))) is not None


def test_the_sizing_table_has_the_student_of_every_gpu_recipe():
    rows = {
        row[0].strip("` "): row for row in (line.strip("| ").split(" | ") for line in PAGE.splitlines())
        if len(row) == 8 and row[0].startswith("`")
    }
    recipes = {name: load_config(name) for name in recipe_names()}
    wanted = {name: config for name, config in recipes.items() if config.engine.options.get("max_model_len") == 40960}
    assert set(rows) <= set(wanted)
    assert {wanted[name].student.model for name in rows} == {config.student.model for config in wanted.values()}
    published = (REPOSITORY / "docs" / "recipes.md").read_text("utf-8")
    for name in rows:
        config = wanted[name]
        assert int(rows[name][1]) == config.engine.tensor_parallel_size
        assert re.search(rf"\| `{name}` \|.*\| {rows[name][2]} \|\n", published), "weights as in docs/recipes.md"
        # what follows from the columns before: 40,960 tokens; 90 % of 80 GB a GPU
        full = float(rows[name][3]) * 1024 * 40960 / 1e9
        assert abs(full - float(rows[name][4])) < 0.06
        room = 0.9 * 80 * config.engine.tensor_parallel_size - float(rows[name][2])
        assert int(rows[name][5]) == int(room / full)
        shared = config.engine.tensor_parallel_size if config.training.strategy == "fsdp" else 1
        assert float(rows[name][7]) > float(rows[name][2]) / shared


def test_manifests_are_valid():
    shown = [yaml.safe_load(block) for block in _blocks("yaml") if "apiVersion" in block]
    assert sorted(manifest["kind"] for manifest in shown) == ["ConfigMap", "LimitRange", "NetworkPolicy"]
    for manifest in shown:
        kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_policies_and_rules_are_json():
    (policy,) = _blocks("json")
    assert json.loads(policy)["Statement"]
    shown = re.findall(r"configuration '(\{.*?\})'\n", PAGE, re.DOTALL)
    assert [list(json.loads(text)) for text in shown] == [["Rules"], ["Rules"]]
    expired = [rule["Filter"]["Prefix"] for rule in json.loads(shown[1])["Rules"] if "Expiration" in rule]
    assert not [prefix for prefix in expired if re.search("promotions|adapters|reports|evaluations|audits", prefix)]


def test_an_s3_server_takes_the_rules(monkeypatch):
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    encryption, lifecycle = (
        json.loads(text) for text in re.findall(r"configuration '(\{.*?\})'\n", PAGE, re.DOTALL)
    )
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="thinksafe")
        client.put_bucket_encryption(Bucket="thinksafe", ServerSideEncryptionConfiguration=encryption)
        client.put_bucket_lifecycle_configuration(Bucket="thinksafe", LifecycleConfiguration=lifecycle)
        client.put_bucket_policy(Bucket="thinksafe", Policy=_blocks("json")[0])
        kept = client.get_bucket_lifecycle_configuration(Bucket="thinksafe")["Rules"]
    assert [rule["ID"] for rule in kept] == [rule["ID"] for rule in lifecycle["Rules"]]


def test_rights_are_the_rendered_ones(tmp_path):
    rows: dict[str, str] = {}
    for row in (line.strip("| ").split(" | ") for line in PAGE.splitlines()):
        if len(row) == 4 and (account := re.search(r"^(?:.* also )?`(pipeline|publisher)`$", row[0])):
            rows[account[1]] = rows.get(account[1], "") + row[2]
    found = manifests(value_set("multi-user"))
    for account, text in rows.items():
        for rule in one(found, "Role", f"-{account}")["rules"]:
            for resource in rule["resources"]:
                spoken = {"configmaps": "ConfigMap", "secrets": "Secret", "serviceaccounts": "account"}
                assert spoken.get(resource, resource) in text, (account, resource)
            assert all(verb in text for verb in rule["verbs"]), (account, rule)
    assert set(rows) == {"pipeline", "publisher"}


def test_links_lead_somewhere():
    for page in (REPOSITORY / "docs" / "operators.md", REPOSITORY / "charts" / "thinksafe" / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), link
