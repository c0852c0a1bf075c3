"""helm and the Kubernetes schema accept the chart; what they read is what the other tests read."""

from __future__ import annotations

import json
import re
import shutil

import kubernetes_validate
import pytest
import yaml
from helm_chart import (
    CHART,
    NAMESPACE,
    VALUE_SETS,
    as_kubernetes_reads,
    config_text,
    helm,
    manifests,
    one,
    template,
    value_set,
)

KUBERNETES = "1.33"


@pytest.mark.parametrize("name", VALUE_SETS)
def test_lint_strict(name):
    done = helm("lint", "--strict", str(CHART), "--namespace", NAMESPACE, "--values", str(value_set(name)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "needs a correction" not in done.stderr


def test_every_manifest_is_valid(rendered):
    for manifest in rendered:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_the_validation_is_strict(rendered):
    job = one(rendered, "Job", "-publish")
    job = json.loads(json.dumps(job))
    job["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES, strict=True)


def test_objects_are_named_once(rendered):
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in rendered]
    assert len(set(names)) == len(names)


def test_rendering_twice_changes_nothing():
    first, second = (template(value_set("hardened")).stdout for _ in range(2))
    assert first
    assert first == second


@pytest.mark.parametrize("name", ["trial", "hardened"])
def test_kubectl_reads_the_same_objects(name):
    text = template(value_set(name)).stdout
    read = as_kubernetes_reads(text)
    for item in read:
        assert item["metadata"]["annotations"].pop("seen") == "yes"
        if not item["metadata"]["annotations"]:
            del item["metadata"]["annotations"]
    assert read == [document for document in yaml.safe_load_all(text) if document]


def test_hooks():
    found = manifests(value_set("default"))
    assert {
        item["metadata"]["name"]: (item["metadata"]["annotations"]["helm.sh/hook"], _command(item))
        for item in found if "helm.sh/hook" in item["metadata"].get("annotations", {})
    } == {
        "safe-thinksafe-publish": (
            "post-install,post-upgrade,post-rollback", ["thinksafe", "publish", "/etc/thinksafe/config.yaml"],
        ),
        "safe-thinksafe-unschedule": (
            "pre-delete", ["thinksafe", "schedule", "/etc/thinksafe/config.yaml", "--remove"],
        ),
        "safe-thinksafe-doctor": ("test", ["thinksafe", "doctor", "/etc/thinksafe/config.yaml", "--cluster"]),
    }


def _command(item):
    spec = item["spec"]["template"]["spec"] if item["kind"] == "Job" else item["spec"]
    (container,) = spec["containers"]
    return container["command"] + container["args"]


def test_hooks_can_be_switched_off(tmp_path):
    found = manifests(value_set("default"), values={"hooks": {"publish": False, "unschedule": False}}, folder=tmp_path)
    assert not [item for item in found if item["kind"] == "Job"]


def test_the_config_is_mounted_where_the_commands_look(rendered):
    assert config_text(rendered)
    for item in rendered:
        if item["kind"] == "Job":
            spec = item["spec"]["template"]["spec"]
            mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0]["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in spec["volumes"]}
            name = volumes[mounts["/etc/thinksafe/config.yaml"]]["configMap"]["name"]
            assert name == one(rendered, "ConfigMap", "-config")["metadata"]["name"]


def test_notes_say_what_to_do_next(tmp_path):
    # helm template leaves the notes out; a dry run on the client renders them without a cluster
    done = helm(
        "install", "safe", str(CHART), "--dry-run=client", "--namespace", NAMESPACE, "--values", str(value_set("trial"))
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("NOTES:")[1]
    assert "helm test safe --namespace kubeflow\n" in notes
    assert "kubectl describe pods --selector job-name=safe-thinksafe-publish --namespace kubeflow\n" in notes
    assert "port-forward service/safe-thinksafe-mlflow" in notes
    assert "Without one its pod stays Pending: set mlflow.persistence.storageClass" in notes
    assert "There is no schedule" in notes
    assert "thinksafe-realign and thinksafe-evaluate were published" in notes


@pytest.mark.parametrize(
    ("values", "closed"),
    [
        ({}, []),
        ({"enabled": True}, ["cluster.mlflow.uri"]),
        ({"enabled": True, "egressPorts": [443, 5000]}, []),
        ({"enabled": True, "egressPorts": []}, ["cluster.hub.endpoint", "cluster.mlflow.uri"]),
        ({"enabled": True, "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 5000}]}]}, []),
        ({"enabled": True, "egressPorts": [], "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}, []),
    ],
)
def test_notes_name_addresses_that_the_network_policy_leaves_out(tmp_path, values, closed):
    cluster = {"hub": {"endpoint": "https://hub.example.com/x"}, "s3": {"endpoint": "http://minio.kubeflow:9000"}}
    notes = _notes(tmp_path, "default", {"networkPolicy": values, "cluster": cluster})
    assert re.findall(r"Caution: .* the port of (\S+);", notes) == closed


TOKEN = "$(kubectl create token safe-thinksafe-publisher --namespace kubeflow --audience pipelines.kubeflow.org)"
SECRET = "$(kubectl get secret t --namespace kubeflow -o jsonpath='{.data.a\\.b}' | base64 -d)"
FORWARD = '(kubectl port-forward service/ml-pipeline 8888:8888 --namespace kubeflow & trap "kill $!" EXIT; sleep 3; '


@pytest.mark.parametrize(
    ("cluster", "token", "command"),
    [
        ({}, {}, "thinksafe submit config.yaml --set cluster.kfp.access=port-forward"),
        (
            {"kfp": {"host": "http://ml-pipeline.kubeflow.svc:8888"}, "certificates": {"config_map": "c"}}, {},
            ("""thinksafe submit config.yaml --set cluster.kfp.access=port-forward --set "cluster.kfp.host=''" """
             """--set "cluster.kfp.ca_file=''\""""),
        ),
        ({"kfp": {"host": "https://kfp.example.com/x"}}, {}, "thinksafe submit config.yaml"),
        (
            {"kfp": {"host": "https://kfp.example.com", "access": "token"}}, {"secret": "t", "key": "a.b"},
            f"KFP_TOKEN={SECRET} thinksafe submit config.yaml",
        ),
        (
            {"kfp": {"host": "https://kfp.example.com", "multi_user": True}, "certificates": {"config_map": "c"}}, {},
            ("kubectl get configmap c --namespace kubeflow -o jsonpath='{.data.ca\\.crt}' > authority.pem &&\n"
             f"   KFP_TOKEN={TOKEN} thinksafe submit config.yaml --set cluster.kfp.access=token "
             "--set cluster.kfp.ca_file=authority.pem"),
        ),
        (
            {"kfp": {"multi_user": True}}, {},
            (f"{FORWARD}KFP_TOKEN={TOKEN} thinksafe submit config.yaml --set cluster.kfp.access=token "
             "--set cluster.kfp.host=http://localhost:8888)"),
        ),
    ],
)
def test_notes_name_the_command_that_starts_a_run_from_a_workstation(tmp_path, cluster, token, command):
    notes = _notes(tmp_path, "default", {"cluster": cluster, **({"kfpToken": token} if token else {})})
    config = "kubectl get configmap safe-thinksafe-config --namespace kubeflow -o jsonpath='{.data.config\\.yaml}'"
    assert f"   {config} > config.yaml &&\n   {command}\n" in notes
    assert notes.count("thinksafe submit") == 1


def test_notes_promise_nothing_that_is_not_there(tmp_path):
    notes = _notes(tmp_path, "hardened", {})
    assert "Its volume" not in notes  # PostgreSQL and S3 need none
    notes = _notes(tmp_path, "trial", {"mlflow": {"persistence": {"storageClass": "fast"}}})
    assert "Its volume stays" in notes
    assert "storage class" not in notes
    notes = _notes(tmp_path, "default", {"cluster": {"pipeline_root": "s3://thinksafe/kfp"}})
    assert "needs the service account safe-thinksafe-pipeline and the pipeline root s3://thinksafe/kfp." in notes
    notes = _notes(tmp_path, "multi-user", {"hooks": {"publish": False}})
    assert "team-a-realign will run at" in notes


def _notes(folder, name, values):
    path = folder / "values.json"
    path.write_text(json.dumps(values), "utf-8")
    done = helm(
        "install", "safe", str(CHART), "--dry-run=client", "--namespace", NAMESPACE,
        "--values", str(value_set(name)), "--values", str(path),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split("NOTES:")[1]


def test_notes_name_the_schedules_that_there_are(tmp_path):
    on = ("--set", "cluster.schedule.evaluate.enabled=true", "--set", "cluster.kfp.pipeline=ours")
    done = helm(
        "install", "safe", str(CHART), "--dry-run=client", "--namespace", NAMESPACE, "--values",
        str(value_set("trial")), *on,
    )
    assert done.returncode == 0, done.stderr
    notes = done.stdout.split("NOTES:")[1]
    assert "ours and ours-evaluate were published" in notes
    assert "No realignment runs automatically.\nThe champion is measured at \"0 0 3 * * 3\"." in notes


def test_packages(tmp_path):
    done = helm("package", str(CHART), "--destination", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thinksafe-0.1.0.tgz"]


LONG = "a-release-name-of-fifty-three-characters-which-is-max"


@pytest.mark.parametrize(
    ("release", "values"),
    [
        (LONG, {}), ("1st.team-a", {}), ("a.b", {}), ("safe", {"fullnameOverride": "x" * 63}),
        ("safe", {"nameOverride": "y" * 63}), ("safe", {"fullnameOverride": "7-" + "-" * 41 + "x" * 9}),
        ("safe", {"nameOverride": "0"}),
    ],
)
def test_all_release_names_and_overrides_make_valid_names(tmp_path, release, values):
    found = _release(release, {"hooks": {"unschedule": True}, **values}, tmp_path)
    for item in found:
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", item["metadata"]["name"])
        for value in item["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)
        kubernetes_validate.validate(item, KUBERNETES, strict=True)


def test_names_that_fit_are_kept_as_they_are(tmp_path):
    name = "n" * 52
    found = _release("safe", {"fullnameOverride": name}, tmp_path)
    assert {item["metadata"]["name"][:53] for item in found if item["kind"] != "CronJob"} == {f"{name}-"} | {
        item["metadata"]["name"] for item in found if item["metadata"]["name"] == name
    }


def test_long_names_that_begin_alike_stay_apart(tmp_path):
    names = [
        {(item["kind"], item["metadata"]["name"]) for item in _release(LONG[:52] + last, {}, tmp_path)} for last in "xy"
    ]
    assert not names[0] & names[1]


def _release(release, values, folder):
    path = folder / "values.json"
    path.write_text(json.dumps(values), "utf-8")
    done = helm(
        "template", release, str(CHART), "--namespace", NAMESPACE, "--values", str(value_set("hardened")),
        "--values", str(path),
    )
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_two_releases_share_no_object():
    names = [
        {(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(
            helm("template", release, str(CHART), "--namespace", NAMESPACE, "--values", str(value_set("trial"))).stdout
        ) if item}
        for release in ("one", "two")
    ]
    assert len(names[0]) == len(names[1]) > 10
    assert not names[0] & names[1]


def test_as_a_part_of_another_chart(tmp_path):
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: platform\nversion: 1.0.0\n")
    shutil.copytree(CHART, tmp_path / "charts" / "thinksafe")
    values = yaml.safe_load(value_set("default").read_text("utf-8"))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"global": {"region": "eu"}, "thinksafe": values}))
    done = helm("template", "safe", str(tmp_path), "--namespace", NAMESPACE)
    assert done.returncode == 0, done.stderr
    assert len([item for item in yaml.safe_load_all(done.stdout) if item]) == len(manifests(value_set("default")))
