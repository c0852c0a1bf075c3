"""A whole run whose student and data sets are named as on the hub, and come from a copy of it in S3."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hub_copies import COMMIT, fill, hub_config
from micro_runs import COMMAND, Run
from s3_servers import bucket, moto_s3

from thinksafe.models.loading import resolve_student
from thinksafe.settings import StudentSettings
from thinksafe.store import open_store

pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def test_a_disconnected_run_takes_student_and_prompts_from_the_mirror(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(hub_config()))
    with moto_s3() as server, bucket(server, monkeypatch) as root:
        fill(open_store(f"{root}/hub", foreign=True))
        offline = {"THINKSAFE_HUB_MIRROR": f"{root}/hub", "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        done = subprocess.run(
            [COMMAND, "run", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "run")], capture_output=True,
            text=True, check=False, env=os.environ | offline | {"HF_HOME": str(tmp_path / "huggingface")},
        )
    run = Run(tmp_path / "run", done.returncode, done.stdout + done.stderr)
    assert run.code in (0, 3), run.text
    assert run.read("decision.json")["stopped_by"] in (None, "gate")
    metrics = {metric["name"]: metric for metric in run.read("metrics.json")["base"]["metrics"]}
    assert [metrics[name]["n"] for name in ("harm/harm", "over_refusal/twins", "reasoning/sums")] == [60, 60, 80]
    assert metrics["harm/harm"]["value"] > 0.5
    assert metrics["reasoning/sums"]["value"] > 0.5, "the answers came along"

    shipped = resolve_student(StudentSettings(model="micro://default", dtype="float32"))
    provenance = run.read("provenance.json")
    assert shipped.digest in json.dumps(provenance)
    (adapter,) = (tmp_path / "run" / "store" / "adapters").glob("*/*/adapter_config.json")
    named = json.loads(adapter.read_text())
    assert (named["base_model_name_or_path"], named["revision"]) == ("acme/student", COMMIT)
