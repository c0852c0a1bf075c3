import copy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from thinksafe.config import load_config, load_suite
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.load import canonical, config_schema
from thinksafe.config.suite import SuiteConfig
from thinksafe.errors import ConfigError

DIGEST = "sha256:" + "0" * 64
CLUSTER = {
    "images": {
        "cpu": f"ghcr.io/acme/thinksafe-cpu@{DIGEST}",
        "sampler": f"ghcr.io/acme/thinksafe-sampler:1.2@{DIGEST}",
        "trainer": "ghcr.io/acme/thinksafe-trainer:1.2.3",
    },
    "store": "s3://models/thinksafe",
    "mlflow": {"uri": "http://mlflow.mlflow.svc.cluster.local:5000"},
}


def cluster(**changed):
    return ClusterSettings.model_validate({**copy.deepcopy(CLUSTER), **changed})


def document(**changed):
    return yaml.safe_dump({"extends": "micro", "cluster": {**CLUSTER, **changed}})


def refusal(**changed):
    with pytest.raises(ConfigError) as refused:
        load_config(document(**changed))
    return refused.value.problem


def test_a_laptop_recipe_has_no_cluster():
    assert load_config("micro").cluster is None


def test_the_suite_of_a_recipe_keeps_its_cluster():
    assert load_suite(document()).cluster == load_config(document()).cluster


def test_the_smallest_section_has_working_defaults():
    loaded = load_config(document()).cluster
    assert loaded is not None
    assert loaded.namespace == "thinksafe"
    assert loaded.schedule.enabled is False
    assert loaded.stage("sample").gpu is None


@pytest.mark.parametrize(
    ("image", "word"),
    [
        ("ghcr.io/acme/cpu", "digest"), ("ghcr.io/acme/cpu:latest", "latest"), ("registry:5000/cpu", "digest"),
        ("ghcr.io/acme/cpu@sha256:12", "not an image"), ("Ghcr.io/acme/cpu:1", "not an image"), ("", "not an image"),
        ("ghcr.io/acme/cpu:1; rm", "not an image"), ("https://ghcr.io/acme/cpu:1", "not an image"),
    ],
)
def test_an_image_that_can_change_is_refused(image, word):
    problem = refusal(images={**CLUSTER["images"], "cpu": image})
    assert "cluster.images.cpu" in problem
    assert word in problem


@pytest.mark.parametrize("image", ["localhost:5000/cpu:1", "cpu:1", f"a/b@{DIGEST}", f"a/b:latest@{DIGEST}"])
def test_a_pinned_image_is_taken(image):
    assert cluster(images={**CLUSTER["images"], "cpu": image}).images.cpu == image


TWICE = "other settings of this section already set"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"secrets": [{"name": "a", "keys": {"k": "AWS_REGION"}}]}, f"{TWICE} AWS_REGION"),
        (
            {"config_maps": [{"name": "a", "keys": {"k": "THINKSAFE_CLUSTER_DIGEST"}}]},
            f"{TWICE} THINKSAFE_CLUSTER_DIGEST",
        ),
        ({"secrets": [{"name": "a", "keys": {"k": "HF_TOKEN"}}], "hub": {"secret": "hub"}}, f"{TWICE} HF_TOKEN"),
        ({"secrets": [{"name": "a", "keys": {"k": "X", "l": "X"}}]}, "X is named 2 times"),
        (
            {
                "secrets": [{"name": "a", "keys": {"k": "X"}}],
                "config_maps": [{"name": "b", "keys": {"k": "X"}}, {"name": "c", "keys": {"k": "X"}}],
            },
            "X is named 3 times",
        ),
    ],
)
def test_a_variable_that_pods_would_get_twice_is_refused(changed, name):
    assert f"secrets, config_maps: {name}" in refusal(**changed)


def test_a_variable_that_no_other_setting_gives_is_taken():
    assert cluster(secrets=[{"name": "a", "keys": {"token": "HF_TOKEN", "proxy": "HTTPS_PROXY"}}])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"s3": {"secret": {"access_key_id": "id"}}}, "access_key_id has no effect without name"),
        ({"s3": {"secret": {"session_token": "t"}}}, "session_token has no effect without name"),
        ({"hub": {"secret_key": "t"}}, "secret_key has no effect without secret"),
        ({"certificates": {"key": "bundle.pem"}}, "key has no effect without config_map"),
        ({"kfp": {"token_file": "/run/token"}}, "token_file is read only with access: token, but access is in-cluster"),
        (
            {"mirrors": {"hub": "s3://bucket/hub"}, "hub": {"endpoint": "https://hub.corp.example"}},
            "hub.endpoint has no effect with mirrors.hub",
        ),
        ({"model_cache": {"size": "1Ti"}}, "size has no effect with kind none"),
        ({"model_cache": {"kind": "claim", "claim": "c", "storage_class": "s"}}, "storage_class has no effect"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(changed, words):
    assert words in refusal(**changed)


@pytest.mark.parametrize("mirror", ["https://mirror.example", "mirror.example//ai", "mirror.example:/ai", "a/b:5000"])
def test_a_mirror_that_makes_no_image_is_refused(mirror):
    assert "cluster.mirrors.images" in refusal(mirrors={"images": mirror})


def test_unknown_keys_are_refused_with_the_nearest_one():
    assert "did you mean 'namespace'" in refusal(namespce="x")
    assert "did you mean 'endpoint'" in refusal(s3={"endpont": "https://s3"})
    assert "did you mean 'tolerations'" in refusal(stages={"train": {"toleration": []}})


@pytest.mark.parametrize(
    "changed",
    [
        {"store": "/data"}, {"store": "s3://UPPER/x"}, {"mlflow": {"uri": "http://user:hunter2@mlflow"}},
        {"mlflow": {"uri": "sqlite:///x"}}, {"mlflow": {"uri": "http://m", "secret": {"name": "m"}}},
        {"mlflow": {"uri": "http://m", "secret": {"name": "m", "username": "u"}}},
        {"mlflow": {"uri": "http://m", "secret": {"token": "t"}}},
        {"namespace": "Has Space"}, {"service_account": "-x"}, {"labels": {"a b": "c"}}, {"labels": {"a": "b c"}},
        {"stages": {"smple": {}}}, {"stages": {"gate": {"retries": {"count": 1}}}},
        {"stages": {"train": {"requests": {"memory": "lots"}}}}, {"stages": {"train": {"deadline": "soon"}}},
        {"stages": {"train": {"retries": {"longest": "10m"}}}}, {"stages": {"train": {"retries": {"within": "30s"}}}},
        {"annotations": {"a": "{{x}}"}}, {"store": "s3://bucket/{{x}}"}, {"kfp": {"host": "http://$(HOST)"}},
        {"stages": {"train": {"gpu": {"count": -1}}}}, {"model_cache": {"kind": "claim"}},
        {"stages": {"train": {"tolerations": [{"operator": "Equal"}]}}},
        {"stages": {"train": {"affinity": [{"expressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}]}}},
        {"security_context": {"run_as_user": 0}}, {"secrets": [{"name": "x", "keys": {}}]},
        {"schedule": {"cron": "0 3 * * 0"}}, {"schedule": {"cron": "0 0 25 * * 0"}},
        {"schedule": {"cron": "0 0 3 * * 0\n"}, "namespace": "A"},
        {"service_account": "a..b"}, {"service_account": "a" * 254}, {"image_pull_secrets": ["a.-b"]},
        {"model_cache": {"kind": "claim", "claim": "a_b"}}, {"namespace": "a.b"}, {"kfp": {"pipeline": "a.b"}},
        {"kfp": {"host": "http://kfp:99999"}}, {"mlflow": {"uri": "http://:5000"}},
        {"stages": {"train": {"limits": {"memory": "16ki"}}}}, {"stages": {"train": {"limits": {"memory": "1.5Gi"}}}},
        {"stages": {"train": {"limits": {"cpu": "0"}}}}, {"stages": {"train": {"limits": {"cpu": "1.5m"}}}},
        {"stages": {"train": {"deadline": "99999h"}}}, {"security_context": {"run_as_user": 2**31}},
        {"stages": {"train": {"requests": {"cpu": "1001m"}, "limits": {"cpu": "1"}}}},
        {"stages": {"default": {"limits": {"memory": "1Gi"}}, "train": {"requests": {"memory": "1025Mi"}}}},
        {"schedule": {"cron": "0 0 3 * * 7"}}, {"schedule": {"cron": "0 0 3 31 2 *"}},
        {"stages": {"train": {"gpu": {"type": "gpu"}}}}, {"labels": {"a..b/c": "d"}}, {"labels": {"a": "b" * 64}},
    ],
)
def test_bad_values_are_refused_without_their_secrets(changed):
    assert "hunter2" not in refusal(**changed)


@pytest.mark.parametrize("cron", ["0 0 3 * * 0", "0 */10 * * * *", "0 30 6 1,15 * MON-FRI", "0 0 0 ? * SUN"])
def test_crons_of_six_fields_are_taken(cron):
    assert cluster(schedule={"cron": cron}).schedule.cron == cron


def test_sampling_pods_have_the_gpus_that_vllm_spreads_over():
    engine = {"kind": "vllm", "tensor_parallel_size": 4}
    text = yaml.safe_dump({"extends": "micro", "engine": engine, "cluster": {
        **CLUSTER, "stages": {"sample": {"gpu": {"count": 2}}},
    }})
    with pytest.raises(ConfigError, match=r"stages\.sample\.gpu\.count is 2, but vLLM spreads the model over 4"):
        load_config(text)
    assert load_config(text, ["cluster.stages.sample.gpu.count=4"]).cluster is not None


def test_a_refusal_says_in_words_what_is_wrong():
    assert "not a Kubernetes name" in refusal(service_account="Has Space")
    assert "write 16Gi" in refusal(stages={"train": {"limits": {"memory": "lots"}}})
    assert "requests.cpu, 2, is more than limits.cpu, 1" in refusal(
        stages={"default": {"limits": {"cpu": "1"}}, "train": {"requests": {"cpu": "2"}}}
    )
    assert "can never fire" in refusal(schedule={"cron": "0 0 3 30 FEB ?"})


def test_stages_take_from_default_what_they_do_not_say():
    settings = cluster(
        stages={
            "default": {"requests": {"cpu": "1"}, "retries": {"count": 5}, "node_selector": {"pool": "cpu"}},
            "train": {"gpu": {"count": 8}, "node_selector": {"pool": "gpu"}},
        }
    )
    train = settings.stage("train")
    assert train.gpu is not None
    assert (train.gpu.count, train.node_selector, train.retries.count) == (8, {"pool": "gpu"}, 5)
    assert train.requests.cpu == "1"
    assert settings.stage("metrics").node_selector == {"pool": "cpu"}
    assert settings.stage("gate").retries.count == 0


def test_writing_the_defaults_out_changes_nothing():
    written = document(stages={"default": {"retries": {"count": 1}}, "train": {"gpu": {"count": 2}}})
    loaded = load_config(written)
    again = load_config(yaml.safe_dump(canonical(loaded)))
    assert again.cluster == loaded.cluster
    assert again.cluster.stage("train") == loaded.cluster.stage("train")
    assert again.cluster.digest == loaded.cluster.digest


def test_the_digest_is_of_what_is_compiled():
    assert cluster(schedule={"enabled": True}).digest == cluster(kfp={"experiment": "x"}).digest == cluster().digest
    assert cluster(namespace="other").digest != cluster().digest


def test_what_several_pods_work_on_follows_from_the_parallelism_and_is_no_setting():
    loaded = load_config(yaml.safe_dump({"extends": "micro", "cluster": CLUSTER, "sampling": {"parallelism": 4}}))
    assert {"sample_training", "judge_filter"} <= loaded.cluster.wide
    assert "wide" not in str(canonical(loaded)["cluster"])
    assert loaded.cluster.digest != loaded.cluster.with_wide(()).digest  # it is compiled into the pipeline
    suite = SuiteConfig.of(loaded)
    assert (suite.cluster.wide, suite.cluster.digest) == (loaded.cluster.wide, loaded.cluster.digest)


def test_images_by_stage_and_from_a_mirror():
    settings = cluster()
    assert settings.image("judge") == settings.images.sampler
    assert settings.image("train") == settings.images.trainer
    assert settings.image("gate") == settings.images.cpu
    mirrored = cluster(mirrors={"images": "registry.corp:5000/mirror"})
    assert mirrored.image("gate") == f"registry.corp:5000/mirror/acme/thinksafe-cpu@{DIGEST}"
    short = cluster(images={**CLUSTER["images"], "cpu": "acme/cpu:1"}, mirrors={"images": "registry.corp"})
    assert short.image("gate") == "registry.corp/acme/cpu:1"


def test_durations():
    assert [seconds(text) for text in ("30s", "10m", "2h")] == [30, 600, 7200]


def test_the_published_schema_knows_the_section_and_agrees():
    validator = Draft202012Validator(config_schema())
    whole = {**canonical(load_config("micro")), "cluster": CLUSTER}
    assert not list(validator.iter_errors(whole))
    assert list(validator.iter_errors({**whole, "cluster": {**CLUSTER, "namespce": "x"}}))


@given(st.text(max_size=60))
def test_no_text_passes_as_a_floating_image(text):
    try:
        image = cluster(images={**CLUSTER["images"], "cpu": text}).images.cpu
    except ValueError:
        return
    assert "@sha256:" in image or (":" in image and not image.endswith(":latest"))


@pytest.mark.parametrize(
    ("training", "count", "words"),
    [
        ({"processes": 4}, 2, "training: processes is 4, but there are 2 GPUs (cluster.stages.train.gpu.count)"),
        ({"batch_size": 8, "micro_batch_size": 8}, 3, "training: batch_size 8 is not a multiple of the GPUs, 3"),
        ({"strategy": "fsdp"}, 1, "training: strategy is fsdp"),
    ],
)
def test_training_has_to_fit_the_gpus_of_its_pod(training, count, words):
    """Else it would fail after hours of sampling."""
    given = yaml.safe_load(document(stages={"train": {"gpu": {"count": count}}})) | {"training": training}
    with pytest.raises(ConfigError) as refused:
        load_config(yaml.safe_dump(given))
    assert words in refused.value.problem
    given["cluster"]["stages"]["train"]["gpu"]["count"] = 4
    assert load_config(yaml.safe_dump(given)).training.batch_size % 4 == 0


ON = {"enabled": True}
NODES = {"batch_size": 16, "micro_batch_size": 8}


def nodes_document(cluster, **training):
    return yaml.safe_dump({"extends": "micro", "cluster": cluster, "training": {**NODES, **training}})


@pytest.mark.parametrize(
    ("training", "changed", "words"),
    [
        ({"nodes": 2, "processes": 4}, None, "no section cluster"),
        ({"nodes": 2, "processes": 4}, {}, "cluster.train_job.enabled is false"),
        ({"nodes": 2}, {"train_job": ON}, "processes must say"),
        ({"nodes": 3, "processes": 2}, {"train_job": ON}, "nodes x processes, 3 x 2"),
        ({}, {"train_job": ON}, "so training.processes must say"),
        (
            {"nodes": 2, "processes": 4}, {"train_job": ON, "stages": {"train": {"gpu": {"count": 2}}}},
            "there are 2 GPUs",
        ),
        ({"nodes": 2, "processes": 4}, {"train_job": {"runtime": {"kind": "Pod"}}}, "cluster.train_job.runtime.kind"),
    ],
)
def test_several_nodes_need_a_train_job_and_a_number_of_processes(training, changed, words):
    section = None if changed is None else {**CLUSTER, **changed}
    with pytest.raises(ConfigError, match=words):
        load_config(nodes_document(section, **training))


def test_a_train_job_that_is_only_switched_on_takes_the_usual_runtime():
    loaded = load_config(nodes_document({**CLUSTER, "train_job": ON}, nodes=2, processes=4))
    assert loaded.cluster is not None
    assert loaded.cluster.train_job.runtime.name == "torch-distributed"
    assert loaded.cluster.digest != cluster().digest  # it is compiled into the pipeline


def gpus(extends, **changed):
    config = load_config(yaml.safe_dump({"extends": extends, **changed, "cluster": {**CLUSTER, "stages": {}}}))
    return {
        stage: gpu.count for stage in ("plan", "sample", "judge", "train", "deploy", "gate")
        if (gpu := config.cluster.stage(stage).gpu) is not None
    }


def test_pods_get_the_gpus_that_the_recipe_needs():
    assert gpus("micro") == {}
    assert gpus("qwen3-8b") == {"sample": 1, "judge": 1, "train": 1}
    assert gpus("qwen3-32b") == {"sample": 4, "judge": 1, "train": 4}, "its training shares the student out"
    assert gpus("qwen3-8b", training={"processes": 2}) == {"sample": 1, "judge": 1, "train": 2}
    wide = {"options": {"pipeline_parallel_size": 2}}
    assert gpus("qwen3-14b", engine=wide)["sample"] == 4
    guards = {"evaluate": {"options": {"tensor_parallel_size": 2}}}
    assert gpus("qwen3-8b", guard=guards)["judge"] == 2


@pytest.mark.parametrize("where", ["engine", "guard.filter"])
@pytest.mark.parametrize(("options", "words"), [
    ({"model": "x"}, "model: other settings"), ({"hf_token": "x"}, "hf_token"), ({"Max-Len": 3}, "pattern"),
    ({"gpu_memory_utilization": float("nan")}, "finite"),
])
def test_options_of_vllm_that_are_ours_are_refused(where, options, words):
    with pytest.raises(ConfigError, match=words):
        load_config("qwen3-8b", [f"{where}.options={yaml.safe_dump(options, default_flow_style=True).strip()}"])


def test_options_of_vllm_are_any_json():
    given = {"quantization": "fp8", "max_num_seqs": 8, "speculative_config": {"method": "ngram"}}
    engine = load_config(yaml.safe_dump({"extends": "qwen3-8b", "engine": {"options": given}})).engine
    assert engine.options == given | {"max_model_len": 40960}
