"""deploy: ledger entry -> rollout on a cluster, verified there, rolled back if it fails."""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.sections import DeploySection
from thinksafe.deploy.rollout import Roller
from thinksafe.digests import digest_file, digest_json
from thinksafe.errors import ConfigError, InputError
from thinksafe.jsonl import read_record, read_records, write_json
from thinksafe.kube.client import connect
from thinksafe.records import Prompt, Sample
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.run.details import DeployDetails
from thinksafe.run.manifests import read_manifest, read_rows
from thinksafe.run.record import StageContext, StageResult, recorded


def run(
    context: StageContext, section: DeploySection, promotion: Path, prompts: Path, samples: Path, *, rollout_out: Path
) -> StageResult:
    """Serve the promoted generation and verify the served model. A rolled-back rollout is a verdict, not an error.

    It can be repeated: it ends where an interrupted attempt would have ended.

    Args:
        context: Store, run and task.
        section: Where to serve, and the checks of the served model.
        promotion: LedgerEntry of this run's promotion.
        prompts: Evaluation prompts (JSON Lines).
        samples: Manifest of the candidate's greedy responses.
        rollout_out: Where the Rollout is written.

    Raises:
        ConfigError: there is no cluster, or its pods cannot read this store.
        InputError: an input file is missing or malformed, or the samples belong to another model.
        StageError: the Kubernetes API or MLflow refused or did not answer.
        StoreError: the adapter or the ledger is missing or changed.
        SignatureError: signatures are demanded, and the generation is not signed; what was served is still served.
    """
    with recorded(context, section) as result:
        entry, manifest = read_record(promotion, LedgerEntry), read_manifest(samples)
        result.inputs = {
            "promotion": digest_json(entry), "prompts": digest_file(prompts), "samples": manifest.digest,
        }
        if section.deploy.kind == "none":
            raise ConfigError("deploy.kind is none: there is nothing to roll out.", "Set deploy.kind.")
        if manifest.model != entry.target.digest:
            raise InputError(
                f"The greedy responses belong to another model than generation {entry.generation}.",
                "Pass files of the same run.",
            )
        asked = list(read_records(prompts, Prompt))
        expected = list(read_rows(context.store, manifest, Sample))
        cluster = connect(section.deploy.namespace, section.deploy.context, section="deploy")
        roller = Roller(context.store, section, cluster)
        harm = section.deploy.verification.harm_prompts
        with context.track("verifying", len(expected) + harm) as advance:
            rollout = roller.run(entry, asked, expected, advance)
        write_json(rollout_out, rollout)
        result.verdict = rollout.verdict
        result.outputs = {"rollout": digest_json(rollout)}
        result.counts = {check.name: check.n for check in rollout.checks}
        result.details = DeployDetails(rollout=rollout.model_dump(mode="json"))
    return result
