"""The private key of signatures: named in the config, granted to nobody."""

from __future__ import annotations

import json

import pytest
import yaml
from helm_chart import VALUE_SETS, config_text, manifests, refusal, value_set
from signed_worlds import Key

from thinksafe.config import load_config


@pytest.mark.parametrize("name", VALUE_SETS)
def test_no_role_and_no_pod_of_the_chart_reaches_the_secret(name, tmp_path):
    sign = {"secret": "the-signing-key", "trusted": [Key(tmp_path, "ours").trusted()]}
    found = manifests(value_set(name), values={"config": {"sign": sign}}, folder=tmp_path)
    assert load_config(config_text(found)).cluster.signing == "the-signing-key"
    others = [item for item in found if not item["metadata"]["name"].endswith("-config")]
    assert len(others) == len(found) - 1
    assert "the-signing-key" not in json.dumps(others)
    for role in (item for item in found if item["kind"] == "Role"):
        for rule in role["rules"]:
            # without names a rule would grant all secrets
            assert "secrets" not in rule["resources"] or rule.get("resourceNames")
            assert "*" not in rule["resources"]
            # whoever may create pods may mount any secret of the namespace
            assert not ("pods" in rule["resources"] and "create" in rule["verbs"])


def test_a_private_key_in_the_values_is_refused_and_not_shown(tmp_path):
    key = Key(tmp_path, "ours")
    sign = {"trusted": [{"name": "ours", "public_key": key.pem.decode()}]}
    said = refusal(value_set("default"), values={"config": {"sign": sign}}, folder=tmp_path)
    assert "config holds a private key" in said
    assert yaml.safe_dump(key.pem.decode().splitlines()[1])[:20] not in said
