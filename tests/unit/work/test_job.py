"""A stage whose work an Indexed Job does: real `thinksafe work` processes behind an API that is a stand-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_configs import cluster_document
from job_controller import JobController
from kube_api import KubeApi
from kube_http import kube_api

from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.pods import JOBS_VARIABLE
from thinksafe.config.sections import GradeSection, SampleSection
from thinksafe.errors import InputError, StageError
from thinksafe.kube import jobs
from thinksafe.records import Prompt, Sample
from thinksafe.run.manifests import marker_key, read_manifest
from thinksafe.run.record import StageContext
from thinksafe.stages import grade, sample
from thinksafe.store.local import LocalStore

pytestmark = pytest.mark.slow  # every pod starts an interpreter
SECTION = GradeSection(reasoning="think")


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubeApi]:
    document = yaml.safe_load(cluster_document("plain", namespace="serving"))["cluster"]
    settings = ClusterSettings.model_validate(document)
    monkeypatch.setenv(JOBS_VARIABLE, settings.model_dump_json(exclude_defaults=True))
    monkeypatch.setattr(jobs, "PAUSE_SECONDS", 0.05)
    with kube_api(tmp_path, monkeypatch) as served:
        yield served


@pytest.fixture
def controller(api: KubeApi, tmp_path: Path) -> Iterator[JobController]:
    (tmp_path / "pods").mkdir()
    running = JobController(api, tmp_path / "pods", environment={"AWS_EC2_METADATA_DISABLED": "true"})
    yield running
    running.stop()


@pytest.fixture
def run(
    tmp_path: Path, make_context: Callable[..., StageContext], make_prompt: Callable[..., Prompt],
    make_sample: Callable[..., Sample], write_rows: Callable[..., Path],
) -> Callable[..., Any]:
    problems = [make_prompt(f"p-{number}", answer="72") for number in range(6)]
    samples = write_rows("samples", *([make_sample(one, "a</think>72")] for one in problems))

    def graded(parallelism: int, **changes: Any) -> Any:
        out = tmp_path / "grades.json"
        context = make_context("grade", task="grade-base", **changes)
        result = grade.run(context, SECTION, samples, grades_out=out, parallelism=parallelism)
        return result, read_manifest(out)

    return graded


def test_the_pods_make_what_the_stage_would(
    run: Callable[..., Any], controller: JobController, monkeypatch: pytest.MonkeyPatch, store: LocalStore
) -> None:
    result, manifest = run(3)
    assert len({name.rsplit("-", 1)[0] for name in controller.made}) == 3, "three indices"
    assert result.counts == {"rows": 6, "chunks": 6, "chunks_reused": 0, "correct": 6, "truncated": 0}
    assert not [key for key in controller.api.objects if "Job" in str(key) or "jobs" in str(key)], "it is deleted"
    monkeypatch.delenv(JOBS_VARIABLE)
    for chunk in manifest.chunks:
        store.delete(marker_key(chunk.key))
    assert run(1)[1] == manifest


def test_a_second_run_starts_no_pod(run: Callable[..., Any], controller: JobController) -> None:
    _, first = run(2)
    before = list(controller.made)
    result, second = run(2, run_id="run-2")
    assert (second, controller.made) == (first, before)
    assert result.counts["chunks_reused"] == 6


def test_a_set_of_one_chunk_is_one_pods_work(
    controller: JobController, tmp_path: Path, make_context: Callable[..., StageContext],
    make_sample: Callable[..., Sample], write_rows: Callable[..., Path],
) -> None:
    samples = write_rows("samples", [make_sample()])
    grade.run(make_context("grade"), SECTION, samples, grades_out=tmp_path / "g.json", parallelism=16)
    assert len(controller.made) == 1


def test_an_error_of_a_pod_is_the_error_of_the_stage_and_is_not_tried_again(
    controller: JobController, tmp_path: Path, make_context: Callable[..., StageContext], base_file: Path,
    sample_section: Callable[..., SampleSection], make_prompt: Callable[..., Prompt],
    write_prompts: Callable[..., Path],
) -> None:
    """The student of the order is nowhere: a wrong input, with exit code 2."""
    text = base_file.read_text().replace("micro://default", "/nowhere/student")
    base_file.write_text(text)
    prompts = write_prompts([make_prompt(f"b-{number}") for number in range(6)])
    with pytest.raises(InputError, match="/nowhere/student"):
        sample.run(
            make_context("sample"), sample_section(), base_file, prompts, samples_out=tmp_path / "s", parallelism=2
        )
    assert len(controller.made) == 2


def test_a_lost_pod_costs_its_chunk(
    run: Callable[..., Any], controller: JobController, store: LocalStore
) -> None:
    """Every pod is killed once, in the middle of its imports or its work."""
    ended = threading.Event()

    def kill() -> None:
        killed: set[str] = set()
        while not ended.is_set() and len(killed) < 2:
            for name in controller.running():
                if name not in killed and len(killed) < 2:
                    controller.delete_pod(name, disrupted=True)
                    killed.add(name)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        result, manifest = run(2)
    finally:
        ended.set()
        thread.join()
    assert len(manifest.chunks) == 6
    assert result.counts["correct"] == 6
    assert len(controller.made) >= 4


def test_pods_that_fail_again_and_again_end_the_stage_with_their_last_lines(
    run: Callable[..., Any], controller: JobController
) -> None:
    controller.command = lambda job: ["sh", "-c", "echo out of luck >&2; exit 1"]
    with pytest.raises(StageError, match="out of luck"):
        run(2)
