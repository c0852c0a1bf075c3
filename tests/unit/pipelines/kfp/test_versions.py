"""The way to the API is no part of a version; all else is."""

import yaml
from cluster_configs import cluster_document

from thinksafe.config import load_config
from thinksafe_pipelines.kfp.versions import without_reach

REACH = {"host": "https://kfp.example.com", "access": "token", "token_file": "/run/token", "ca_file": "/run/ca.pem"}


def test_a_document_loses_the_way_and_keeps_the_rest() -> None:
    text = cluster_document(kfp={**REACH, "experiment": "safety", "multi_user": True})
    bare, _ = without_reach(text, [])
    assert yaml.safe_load(bare)["cluster"]["kfp"] == {"experiment": "safety", "multi_user": True}
    ours, theirs = load_config(text).model_dump(), load_config(bare).model_dump()
    assert ours["cluster"].pop("kfp") != theirs["cluster"].pop("kfp")
    assert ours == theirs
    assert load_config(text).cluster.digest == load_config(bare).cluster.digest


def test_a_document_that_names_no_way_is_kept_to_the_letter() -> None:
    text = "# ours\n" + cluster_document(kfp={"experiment": "safety"})
    assert without_reach(text, ["seed=7", "cluster.kfp.experiment=x"]) == (text, ["seed=7", "cluster.kfp.experiment=x"])


def test_texts_that_look_like_other_values_stay_texts() -> None:
    text = cluster_document(kfp=REACH, labels={"date": "2026-01-01", "number": "007", "yes": "on"})
    bare, _ = without_reach(text, [])
    assert load_config(bare).cluster.labels == load_config(text).cluster.labels


def test_overrides_of_the_way_go_alone_or_in_their_section() -> None:
    given = [
        "cluster.kfp.access=port-forward", " cluster.kfp.host =", "seed=7",
        "cluster.kfp={access: port-forward, experiment: safety}", "cluster.kfp={experiment: other}",
    ]
    assert without_reach("extends: micro\n", given)[1] == [
        "seed=7", 'cluster.kfp={"experiment": "safety"}', "cluster.kfp={experiment: other}"
    ]
