"""register: candidate -> model version with the alias ``candidate``, so that a refused one has a record too."""

from __future__ import annotations

from pathlib import Path

from thinksafe.config.sections import RegisterSection
from thinksafe.digests import digest_file, digest_json
from thinksafe.errors import InputError
from thinksafe.jsonl import write_json
from thinksafe.models.references import read_reference
from thinksafe.registry.registration import register_candidate, trained_of
from thinksafe.run.details import PlanDetails, RegisterDetails
from thinksafe.run.record import StageContext, StageResult, find_evidence, recorded


def run(
    context: StageContext, section: RegisterSection, candidate: Path, examples: Path, *, registration_out: Path
) -> StageResult:
    """Register the candidate in MLflow, and sign it as that version where the configuration says so.

    It can be repeated: what a run made is registered once.

    Args:
        context: Store, run and task.
        section: Where the candidate is registered.
        candidate: ModelReference of the candidate.
        examples: JSON Lines of the examples that it was trained on; only their digest is recorded.
        registration_out: Where the Registration is written.

    Raises:
        ConfigError: no MLflow server is named, or the private key is missing or unsuitable.
        InputError: an input file is missing or malformed.
        StoreError: the candidate's files are missing or changed, or the record of the plan is damaged.
        SignatureError: the private key is that of no trusted signer.
        StageError: MLflow failed, or the adapter does not name its base as the configuration does.
    """
    with recorded(context, section) as result:
        reference = read_reference(candidate)
        try:
            data = digest_file(examples)
        except OSError as error:
            raise InputError(f"Cannot read {examples}: {error.strerror or error}.", "Check the path.") from error
        plan = find_evidence(context.store, context.run_id, "plan")
        registration = register_candidate(
            context.store, reference, section.registry, run_id=context.run_id, data_digest=data,
            config_digest=plan.read(PlanDetails).config_digest if plan is not None else "",
        )
        if section.sign is not None:
            from thinksafe.signing.trained import ensure_signed, subject

            signed_as = subject(registration.name, registration.version)
            signature = ensure_signed(context.store, trained_of(reference), signed_as, section.sign)
            registration = registration.model_copy(update={"signature": signature})
        write_json(registration_out, registration)
        result.inputs = {"candidate": reference.digest, "examples": data}
        result.outputs = {"registration": digest_json(registration)}
        result.details = RegisterDetails(registration=registration.model_dump(mode="json"))
    return result
