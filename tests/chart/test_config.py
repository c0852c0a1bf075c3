"""The config document that the chart assembles is one that thinksafe reads, with nothing lost."""

from __future__ import annotations

import json

import pytest
from helm_chart import (
    NAMESPACE,
    as_kubernetes_reads,
    config_text,
    manifests,
    one,
    pods,
    refusal,
    template,
    value_set,
)
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from thinksafe.config import load_config
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.placeholders import holds_placeholder
from thinksafe.config.pods import CERTIFICATES, environment, secret_variables
from thinksafe.errors import ConfigError
from thinksafe.models.pins import require_pinned
from thinksafe_pipelines.kfp.access import connect


def test_thinksafe_reads_it(rendered, value_set_name):
    config = load_config(config_text(rendered))
    assert require_pinned(config) == config.cluster
    assert config.cluster is not None
    assert config.cluster.namespace == NAMESPACE
    assert config.cluster.service_account == one(rendered, "ServiceAccount", "-pipeline")["metadata"]["name"]
    if value_set_name == "multi-user":
        assert config.cluster.schedule.enabled
        assert config.cluster.kfp.multi_user
        assert config.cluster.stage("train").priority_class == "batch-low"


def test_the_defaults_are_those_of_the_config():
    minimal = load_config(config_text(manifests(value_set("default")))).cluster
    assert minimal is not None
    images = {name: f"registry.example.com/thinksafe/{name}:0.1.0" for name in ("cpu", "sampler", "trainer")}
    assert minimal == ClusterSettings.model_validate({
        "images": images, "namespace": NAMESPACE, "service_account": "safe-thinksafe-pipeline",
        "store": "s3://thinksafe/runs", "mlflow": {"uri": "http://mlflow.mlflow.svc:5000"},
        "labels": {
            "app.kubernetes.io/instance": "safe", "app.kubernetes.io/part-of": "thinksafe", "thinksafe/pods": "runs",
        },
        # the recipe is on vLLM, so that it asks for these itself
        "stages": {stage: {"gpu": {"count": 1}} for stage in ("sample", "judge", "train")},
    })


def test_a_rollout_beside_the_runs_fetches_with_their_image(tmp_path):
    deploy = {"kind": "deployment", "image": "registry.example.com/vllm:0.11.0", "namespace": NAMESPACE}
    found = manifests(value_set("default"), values={"config": {"deploy": deploy}}, folder=tmp_path)
    config = load_config(config_text(found))
    assert config.deploy.fetch_image == config.cluster.images.cpu


def test_the_bundled_server_is_the_one_that_runs_use():
    found = manifests(value_set("trial"))
    config = load_config(config_text(found))
    assert config.cluster is not None
    service = one(found, "Service", "-mlflow")
    port = service["spec"]["ports"][0]["port"]
    assert config.cluster.mlflow.uri == f"http://{service['metadata']['name']}.{NAMESPACE}.svc:{port}"


@pytest.mark.parametrize(
    "repository",
    ["registry.example.com/ai/cpu", "registry:5000/cpu", "localhost/cpu", "team/cpu", "cpu"],
)
def test_hooks_pull_from_the_mirror_as_runs_do(tmp_path, repository):
    values = {
        "images": {"cpu": {"repository": repository}},
        "cluster": {"mirrors": {"images": "mirror.example.com/ai"}},
    }
    found = manifests(value_set("default"), values=values, folder=tmp_path)
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    assert {spec["containers"][0]["image"] for spec in pods(found)} == {cluster.image("prepare")}


def test_a_digest_wins_over_the_tag(tmp_path):
    digest = "sha256:" + "d" * 64
    values = {"images": {"cpu": {"digest": digest}, "sampler": {"digest": digest, "tag": "1.2"}}}
    cluster = load_config(config_text(manifests(value_set("default"), values=values, folder=tmp_path))).cluster
    assert cluster is not None
    assert cluster.images.cpu == f"registry.example.com/thinksafe/cpu@{digest}"
    assert cluster.images.sampler == f"registry.example.com/thinksafe/sampler:1.2@{digest}"


def test_certificates_are_where_they_are_mounted():
    found = manifests(value_set("disconnected"))
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    assert cluster.kfp.ca_file == f"{CERTIFICATES}/ca.crt"
    for spec in pods(found):
        mounts = {mount["name"]: mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
        assert mounts["certificates"] == CERTIFICATES


def test_the_doctor_tries_what_runs_use(rendered):
    """The doctor's environment is that of the stages which talk to S3, MLflow and the hub, taken together."""
    cluster = load_config(config_text(rendered)).cluster
    assert cluster is not None
    plain = environment(cluster, "prepare") | environment(cluster, "gate")
    by_run = {name for name in plain if not name.startswith(("HF_HUB", "HF_HOME", "THINKSAFE"))}
    secrets = {tuple(item) for stage in ("prepare", "gate") for item in secret_variables(cluster, stage)}
    extra = {(source.name, key, name) for source in cluster.secrets for key, name in source.keys.items()}
    (container,) = one(rendered, "Pod", "-doctor")["spec"]["containers"]
    given = {item["name"]: item for item in container["env"] if item["name"] not in ("HOME", "KFP_TOKEN")}
    assert {name: item["value"] for name, item in given.items() if "value" in item} == {
        name: plain[name] for name in by_run
    }
    sources = {name: item["valueFrom"] for name, item in given.items() if "valueFrom" in item}
    references = {name: source["secretKeyRef"] for name, source in sources.items() if "secretKeyRef" in source}
    assert {(item["name"], item["key"], name) for name, item in references.items()} == secrets - extra
    maps = {name: source["configMapKeyRef"] for name, source in sources.items() if "configMapKeyRef" in source}
    assert {(item["name"], item["key"], name) for name, item in maps.items()} == {
        (source.name, key, name) for source in cluster.config_maps for key, name in source.keys.items()
    }
    # so that it can start where one is missing, and say so
    assert all(item["optional"] is True for item in (*references.values(), *maps.values()))


def test_hooks_start_without_the_token_and_say_so(monkeypatch):
    found = manifests(value_set("disconnected"))
    tokens = [
        item["valueFrom"]["secretKeyRef"] for spec in pods(found) for item in spec["containers"][0]["env"]
        if item["name"] == "KFP_TOKEN"
    ]
    assert tokens == [{"name": "thinksafe-kfp", "key": "token", "optional": True}] * 4  # three hooks and end-stuck
    for spec in pods(found):
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "certificates"]
        assert volume["configMap"] == {"name": "company-authority", "optional": True}
    cluster = load_config(config_text(found)).cluster
    assert cluster is not None
    monkeypatch.delenv("KFP_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="KFP_TOKEN is not set") as refused:
        connect(cluster.model_copy(update={"kfp": cluster.kfp.model_copy(update={"ca_file": ""})}))
    assert "kfpToken" in refused.value.action
    with pytest.raises(ConfigError, match=r"Cannot read /etc/thinksafe/certificates/ca\.crt") as missing:
        connect(cluster)
    assert "--set cluster.kfp.ca_file" in missing.value.action


HOSTILE = [
    "yes", "no", "null", "~", "=", "<<", "1e3", "0x1F", "0o17", "1_000", "12:30:45", "2026-01-01", ".inf", "", " x ",
    "- a", "a: b", "#c", "{{ .Values.config }}", '{{ fail "x" }}', "${HOME}", "'", '"', "\\", "a\nb: c",
    "a\n  config.yaml: d", "\n---\nkind: Secret\n", "---", "...", "%TAG", "!!python/object:os.system", "&a", "*a", "|",
    ">-", "\t", "\u2028", "<script>alert(1)</script>", "\U0001f600", "\x01", "\x1b[31m",
]
# U+007F to U+009F and some more are refused; a lone surrogate is no text
CHARACTERS = st.characters(
    exclude_categories=("Cs",), exclude_characters="".join(map(chr, [*range(0x7F, 0xA0), 0xFEFF, 0xFFFE, 0xFFFF]))
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(-1e6, 1e6) | st.text(CHARACTERS),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


def _document(found):
    return json.loads(config_text(found))


def test_hostile_texts_stay_texts(tmp_path):
    config = {"extends": "micro", "hostile": {text: text for text in HOSTILE}, "list": HOSTILE}
    found = manifests(value_set("default"), values={"config": config}, folder=tmp_path)
    assert {item["kind"] for item in found} == {item["kind"] for item in manifests(value_set("default"))}
    document = _document(found)
    assert document["hostile"] == config["hostile"]
    assert document["list"] == HOSTILE


# not shrunk: every example is a run of helm
def test_hostile_annotations_stay_annotations(tmp_path):
    annotations = {f"a{number}": text for number, text in enumerate(HOSTILE)}
    sent = {name: text for name, text in annotations.items() if not holds_placeholder(text)}
    values = {
        "hooks": {"annotations": annotations}, "cluster": {"annotations": sent},
        "serviceAccounts": {"pipeline": {"annotations": annotations}},
    }
    text = template(value_set("default"), values=values, folder=tmp_path).stdout
    found = as_kubernetes_reads(text)
    own = {"helm.sh/hook", "helm.sh/hook-delete-policy", "helm.sh/hook-output-log-policy", "seen"}
    for item in (one(found, "ServiceAccount", "-pipeline"), one(found, "Pod", "-doctor")):
        assert {k: v for k, v in item["metadata"]["annotations"].items() if k not in own} == annotations
    pod = one(found, "Job", "-publish")["spec"]["template"]
    assert pod["metadata"]["annotations"] == annotations
    assert _document(found)["cluster"]["annotations"] == sent
    assert len(found) == len(manifests(value_set("default")))


@settings(
    max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.text(st.characters(categories=("Ll", "Nd", "Po")), min_size=1), VALUES, min_size=1))
def test_documents_round_trip(tmp_path, extra):
    config = {"extends": "micro", "audit": {"extra": [extra]}}
    found = manifests(value_set("default"), values={"config": config}, folder=tmp_path)
    assert _document(found)["audit"]["extra"] == [extra]


@pytest.mark.parametrize("text", ["a\x85b", "a\x7f", "\x9b", "\ufeff"])
def test_what_ends_a_line_inside_a_block_is_refused(tmp_path, text):
    said = refusal(value_set("default"), values={"config": {"extends": "micro", "name": text}}, folder=tmp_path)
    assert "control character" in said
