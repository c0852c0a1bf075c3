"""train: examples to an adapter or to all weights, under a key that holds everything that determines them.

A retry, or a second run on the same examples, reuses what is in the store
(:mod:`thinksafe.training.trained_store`). An interrupted training resumes from its last checkpoint
(:mod:`thinksafe.training.checkpoints`). On a cluster, a TrainJob may train instead of the stage
(:mod:`thinksafe.training.trainjob`).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from thinksafe.config.checks import CHANGED
from thinksafe.config.cluster import ClusterSettings
from thinksafe.config.sections import TrainSection
from thinksafe.config.shape import shape_of
from thinksafe.deciding.checks import concluded, count_check
from thinksafe.digests import digest_file, digest_json, library_versions
from thinksafe.errors import DamagedError, InputError
from thinksafe.jsonl import write_atomic, write_json
from thinksafe.judging.guards import open_guard
from thinksafe.kube.jobs import job_client, job_settings
from thinksafe.methods.contexts import Context, read_context
from thinksafe.methods.objectives import SelfDistillation
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.models.trained import fetch_trained
from thinksafe.records import Decision
from thinksafe.run.formats import format_of
from thinksafe.run.record import StageContext, StageResult, recorded
from thinksafe.training.adapters import changed_matrices
from thinksafe.training.checkpoints import Checkpoints
from thinksafe.training.details import CurvePoint, TrainDetails
from thinksafe.training.fit import warmup_steps
from thinksafe.training.launch import Job, shape_here, train
from thinksafe.training.trained_store import TrainedManifest, candidate_of, find_trained, manifest_key, settle

LIBRARIES = ("torch", "transformers", "accelerate", "peft", "trl")
_OF_ADAPTERS = frozenset({"lora_rank", "lora_alpha", "lora_dropout", "target_modules"})
"""Settings that mean nothing where all weights are trained."""


def run(
    context: StageContext, section: TrainSection, base: Path, examples: Path,
    *, safety_context: Path | None = None, trained_out: Path, candidate_out: Path, decision_out: Path, passed_out: Path,
) -> StageResult:
    """Train an adapter or all weights, or reuse existing ones, and write the candidate's reference.

    A training that leaves the student as it was is a verdict, not a failure: the Decision (JSON) and the flag ``true``
    or ``false`` say whether the run continues.

    Args:
        context: Store, run and task.
        section: Settings and seed.
        base: ModelReference of the student.
        examples: JSON Lines of Example.
        safety_context: The context that the diagnosis chose; no file, or JSON ``null``, if there was nothing to choose.
        trained_out: Folder for the adapter's files, or for the manifest of all weights, which stay in the store;
            created when missing.
        candidate_out: File for the candidate's ModelReference.
        decision_out: File for the Decision.
        passed_out: File for the flag.

    Raises:
        InputError: the base is not a plain student, cannot be loaded or has no fitting chat template; or there is no
            context although the objective needs one.
        ConfigError: see :func:`thinksafe.training.launch.shape_here`.
        StageError: see :func:`thinksafe.training.fit.train_student` and
            :func:`thinksafe.training.data.encode_examples`.
        StoreError: the store failed.
    """
    with recorded(context, section) as result:
        reference = read_reference(base)
        if reference.absent or reference.trained is not None:
            raise InputError(f"{base} is not an untrained student.", "Train from the base of the run.")
        rows, chosen = digest_file(examples), read_context(safety_context) if safety_context else None
        section = _in_context(section, chosen)
        cluster = job_settings()
        shape = shape_here(section.training) if cluster is None else shape_of(section.training)
        # the libraries that train are not here, but in the image of the TrainJob's pods
        image = "" if cluster is None else cluster.images.trainer
        key = trained_key(reference, rows, section, shape.world, image, _guard_digest(section, here=cluster is None))
        parameters = section.training.parameters
        manifest = found = find_trained(context.store, key, parameters)
        resumed = 0
        if manifest is None and cluster is not None:
            result.gpus = shape.nodes * (gpu.count if (gpu := cluster.stage("train").gpu) else 0)
            manifest, resumed = _train_on_nodes(context, cluster, section, reference, examples, key)
        elif manifest is None:
            manifest, resumed = _train(context, section, reference, examples, key, shape.processes)
        candidate, trained = candidate_of(reference, key, manifest), manifest.trained(key)
        if parameters == "full":
            write_json(trained_out / "manifest.json", manifest)
        else:
            fetch_trained(context.store, trained, trained_out)
        write_json(candidate_out, candidate)
        decision = _decide(manifest, *(manifest.changed or changed_matrices(trained_out)))
        write_json(decision_out, decision)
        write_atomic(passed_out, b"true" if decision.passed else b"false")
        result.verdict = "passed" if decision.passed else "unchanged"
        result.inputs = {"base": reference.digest, "examples": rows}
        if chosen is not None:
            result.inputs["context"] = digest_json(chosen.model_dump(mode="json"))
        result.outputs = {"trained": trained.digest, "candidate": candidate.digest}
        result.counts = {
            "examples": manifest.rows + sum(manifest.dropped.values()), "rows": manifest.rows,
            "tokens": manifest.tokens, "steps": manifest.steps, "reused": int(found is not None),
            "resumed": resumed,
        }
        if manifest.responses:
            result.counts |= {"responses": manifest.responses, "response_tokens": manifest.response_tokens}
        result.details = TrainDetails(
            curve=tuple(CurvePoint(**point) for point in manifest.curve), steps=manifest.steps,
            warmup_steps=warmup_steps(manifest.steps, section.training), decision=decision,
            adapter=candidate.adapter, weights=candidate.weights, **trained.digests, processes=shape.world,
            nodes=shape.nodes, share=manifest.share, drift=tuple(manifest.drift),
            **{f"dropped_{reason}": count for reason, count in manifest.dropped.items()},
        )
    return result


def _in_context(section: TrainSection, chosen: Context | None) -> TrainSection:
    """Return the section with the chosen context in its objective, if that has none of its own."""
    objective = section.objective
    if not isinstance(objective, SelfDistillation) or objective.context:
        return section
    if chosen is None:
        raise InputError("The diagnosis chose no context.", "Start the run again from the diagnosis.")
    return section.model_copy(update={"objective": objective.model_copy(update={"context": chosen.template})})


def _decide(manifest: TrainedManifest, changed: int, matrices: int) -> Decision:
    """Return whether the candidate differs from the base, in its weights and in what it was measured to write."""
    apart = [found for found in manifest.drift if found.measure == "kl"]
    same = apart and not any(found.value or (found.interval and found.interval.high) for found in apart)
    if changed and same:
        rows = sum(found.n for found in apart)
        check = count_check(CHANGED.condition(None), f"Training changed the next token of 0 of {rows:,} rows", 0, rows)
    else:
        found = f"Training changed {changed:,} of {matrices:,} weights"
        check = count_check(CHANGED.condition(None), found, changed, matrices)
    if check.passed:
        return concluded("train", [check], "Training changed the student.")
    advice = (
        f"It took {manifest.steps:,} step{'' if manifest.steps == 1 else 's'} on {manifest.rows:,} examples. Use more "
        "examples or epochs, a smaller training.batch_size or a larger training.learning_rate."
    )
    check = check.model_copy(update={"reason": f"{check.reason} {advice}"})
    return concluded("train", [check], "Stopped: the candidate does not differ from the base.")


def trained_key(
    base: ModelReference, examples: str, section: TrainSection, processes: int, image: str = "", guard: str = ""
) -> str:
    """Return the digest of everything that determines an adapter, or all weights.

    The base digest covers weights, revision, tokenizer and chat template. The student's settings are in it because
    the adapter names its base. Checkpoints are not: an interrupted training ends in the same weights.

    Args:
        base: The student.
        examples: Digest of the examples.
        section: Settings and seed.
        processes: Processes on all nodes.
        image: Image that trains, which determines the libraries; empty for the libraries that are installed here.
        guard: Digest of the guard that gives the rewards; empty without one.
    """
    versions = {"image": image} if image else library_versions(*LIBRARIES)
    settings: dict[str, Any] = base.student.model_dump(mode="json")
    parts = section.model_dump(mode="json", exclude={"training", "guard"}) | {"training": _deciding(section, processes)}
    rewarded = [guard] if guard else []
    return digest_json([base.base_digest, settings, examples, parts, format_of("train"), versions, *rewarded])


def _guard_digest(section: TrainSection, *, here: bool) -> str:
    """Return a digest of the guard that gives the rewards, of its settings alone if its files are not read here."""
    if section.guard is None:
        return ""
    if here:
        return open_guard(section.guard).fingerprint
    return digest_json(section.guard.model_dump(mode="json", exclude={"base_url", "served_model", "api_key_env"}))


def _deciding(section: TrainSection, processes: int) -> dict[str, Any]:
    """Return the settings that determine what is trained, with the total number of processes on all nodes."""
    settings = section.training
    unused = _OF_ADAPTERS if settings.parameters == "full" else {"parameters"}
    return settings.model_dump(mode="json", exclude={"checkpoint_steps", "nodes", *unused}) | {"processes": processes}


def _train(
    context: StageContext, section: TrainSection, base: ModelReference, examples: Path, key: str, processes: int
) -> tuple[TrainedManifest, int]:
    """Train, write the result into the store, and return its manifest and the step from which the training resumed."""
    with tempfile.TemporaryDirectory() as temporary:
        job = Job(
            section=section, base=base, examples=examples.absolute(), key=key, folder=Path(temporary),
            store=context.store.root, run_id=context.run_id, task=context.task,
        )
        checkpoints = Checkpoints(context.store, key, job.checkpoints)
        if section.training.checkpoint_steps:
            job = job.model_copy(update={"resume": checkpoints.restore()})
        done = train(context, job, processes)
        manifest = settle(context.store, key, section.training.parameters, job.made, done)
    return manifest, job.resume


def _train_on_nodes(
    context: StageContext, cluster: ClusterSettings, section: TrainSection, base: ModelReference, examples: Path,
    key: str,
) -> tuple[TrainedManifest, int]:
    """Train in a TrainJob, whose first node writes the result; return as :func:`_train` does."""
    from thinksafe.training.node import NodeJob
    from thinksafe.training.trainjob.launcher import TrainJobLauncher

    job = NodeJob(
        section=section, base=base, examples_digest=digest_file(examples), key=key, run_id=context.run_id,
        task=context.task,
    )

    parameters = section.training.parameters

    def done() -> bool:
        return find_trained(context.store, key, parameters) is not None

    launcher = TrainJobLauncher(context.store, cluster, job_client(cluster), job, examples, done)
    launcher.run()
    manifest = find_trained(context.store, key, parameters)
    if manifest is None:
        place = context.store.uri(manifest_key(key, parameters))
        raise DamagedError(f"{place} is gone from the store again.", "Start the same stage again.")
    return manifest, launcher.resumed
