"""promote: decision -> ledger entry, then the alias ``champion``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from thinksafe.config.sections import PromoteSection
from thinksafe.deciding.waivers import applied, described
from thinksafe.digests import digest_json
from thinksafe.errors import ConflictError, SignatureError, StageError
from thinksafe.jsonl import read_record, write_atomic, write_json
from thinksafe.models.references import ModelReference, read_reference
from thinksafe.records import Decision
from thinksafe.registry import ledger
from thinksafe.registry.approvals import Review
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.registry.mlflow_client import connect, resolve_tracking_uri
from thinksafe.registry.registration import (
    Registration,
    set_champion,
    trained_of,
    verify_candidate,
    verify_version,
)
from thinksafe.registry.sign_off import subject_of
from thinksafe.run.details import MetricsDetails, PromoteDetails
from thinksafe.run.record import StageContext, StageResult, find_evidence, recorded
from thinksafe.stages.approval import AWAITING, REJECTED, announced, reviewed

if TYPE_CHECKING:
    from thinksafe.registry.signed import Seal

_DECIDE_AGAIN = "Start a new run: it decides again, against the current champion."


def run(
    context: StageContext, section: PromoteSection, decision: Path, registration: Path, candidate: Path,
    champion: Path, *, promotion_out: Path, passed_out: Path,
) -> StageResult:
    """Append the candidate to the promotion ledger and make the alias follow.

    All refusals come before the ledger changes. A repeated attempt of a run that is already in the ledger appends
    nothing; it completes the alias, which follows the ledger's newest generation (of another run, if the ledger has
    moved on).

    Where the section demands approvals and they are missing, the stage asks for them, and the run ends awaiting them.

    Args:
        context: Store, run and task.
        section: Where the candidate is registered, and whether it is rolled out.
        decision: Decision of the gate.
        registration: Registration of the candidate.
        candidate: ModelReference of the candidate.
        champion: ModelReference that the gate compared with; may be absent.
        promotion_out: Where the LedgerEntry is written; JSON ``null`` where approvals are missing.
        passed_out: Where it is written whether a rollout follows, ``true`` or ``false``.

    Raises:
        StageError: the gate refused, the inputs belong to different candidates, the champion is no longer the one
            that the gate compared with (names who promoted it), a waiver has expired since, or MLflow failed.
        StoreError: the candidate's files are missing or changed, or the ledger or the metrics' record is malformed.
        SignatureError: where the ledger is signed: the candidate's files or the ledger are not what was signed.
        InputError: an input file is missing or malformed.
        ConfigError: no MLflow server is named, or the private key is missing.
    """
    with recorded(context, section) as result:
        decided = read_record(decision, Decision)
        registered = read_record(registration, Registration)
        reference, compared = read_reference(candidate), read_reference(champion)
        result.inputs = {
            "decision": digest_json(decided), "registration": digest_json(registered),
            "candidate": reference.digest, "champion": "" if compared.absent else compared.digest,
        }
        name = section.registry.model
        _check_inputs(decided, registered, reference, name)
        signing = _Signing.of(context, section, registered, reference)
        verify_candidate(context.store, reference)
        uri = resolve_tracking_uri(section.registry.tracking_uri)
        client = connect(uri)
        verify_version(client, uri, name, registered.version, trained_of(reference))
        demanded, review = section.promotion, None
        # before the look for an own entry: one that a parallel attempt writes afterwards leaves the subject as it is
        subject = subject_of(context.store, registered, decided, compared) if demanded is not None else None
        entry = _own_entry(context, name, reference)
        if entry is None and demanded is not None and subject is not None:
            _require_compared(context, name, compared)
            review = reviewed(context, demanded, subject, registered, decided)
            if review.state != "approved":
                write_atomic(promotion_out, b"null\n")
                write_atomic(passed_out, b"false")
                result.verdict = REJECTED if review.state == "rejected" else AWAITING
                result.details = PromoteDetails(approval=announced(context, demanded, subject, decided, review))
                return result
        entry = entry or _append(context, name, decided, registered, reference, compared, review, signing.evidence)
        signing.sign(entry, decided)
        set_champion(context.store, name, client, uri)
        write_json(promotion_out, entry)
        write_atomic(passed_out, b"true" if section.rollout else b"false")
        result.verdict = "promoted"
        result.outputs = {"promotion": digest_json(entry)}
        result.details = PromoteDetails(entry=entry.model_dump(mode="json"))
    return result


@dataclass
class _Signing:
    """Signs the promotion; does nothing where nothing is signed."""

    seal: Seal | None = None
    version: str = ""
    evidence: dict[str, str] = field(default_factory=dict)
    """What the entry says about the run's records."""

    @classmethod
    def of(
        cls, context: StageContext, section: PromoteSection, registration: Registration, candidate: ModelReference
    ) -> _Signing:
        """Check the candidate's signature, before anything changes. Raises SignatureError."""
        if section.sign is None:
            return cls()
        from thinksafe.registry.signed import Seal, evidence_of
        from thinksafe.signing.trained import require_signed, subject

        seal = Seal(context.store, registration.name, section.sign)
        signed_as = subject(registration.name, registration.version)
        require_signed(context.store, trained_of(candidate), signed_as, seal.trust)
        seal.require_signer()
        if _own_entry(context, registration.name, candidate) is None:
            seal.require_history()
        return cls(seal, registration.version, evidence_of(context.store, context.run_id))

    def sign(self, entry: LedgerEntry, decision: Decision) -> None:
        """Sign the ledger with this entry, if it is still the one that this run wrote. Raises SignatureError."""
        if self.seal is None:
            return
        if (entry.version, entry.digests.decision) != (self.version, digest_json(decision)):
            raise SignatureError(
                f"Generation {entry.generation} of {entry.model!r} is not as this run wrote it.", "Restore it."
            )
        self.seal.ensure_signed(entry.generation)


def _check_inputs(decision: Decision, registration: Registration, candidate: ModelReference, name: str) -> None:
    if not decision.passed:
        raise StageError(
            "The gate refused this candidate; it is not promoted.", "See the checks of the decision in the report."
        )
    if (registration.name, registration.candidate) != (name, candidate.digest):
        raise StageError(
            f"Version {registration.version} of {registration.name!r} is not the registration of this candidate.",
            "Pass the registration and candidate of one run.",
        )


def _own_entry(context: StageContext, name: str, candidate: ModelReference) -> LedgerEntry | None:
    """Return this run's promotion of this candidate, if it is in the ledger."""
    for entry in reversed(ledger.entries(context.store, name)):
        own = entry.action == "promote" and entry.run_id == context.run_id
        if own and entry.target.digest == candidate.digest:
            return entry
    return None


def _append(
    context: StageContext, name: str, decision: Decision, registration: Registration, candidate: ModelReference,
    compared: ModelReference, review: Review | None, evidence: dict[str, str],
) -> LedgerEntry:
    waivers = applied(decision)
    today = ledger.now()[:10]
    for use in waivers:
        if str(use.expires) < today:
            raise StageError(
                f"The waiver {described(use)} counted on {decision.waivers_on}, when this run was planned; it has "
                "expired since.",
                "Renew or remove the waiver in the configuration, and start a new run.",
            )
    newest = ledger.newest(context.store, name)
    _require_compared(context, name, compared)
    before = review.request.subject.generation if review is not None and review.request is not None else None
    if before is not None and newest is not None and newest.generation != before:
        if own := _own_entry(context, name, candidate):  # a parallel attempt of this run
            return own
        raise StageError(f"The approvals are void: meanwhile there was {ledger.describe(newest)}.", _DECIDE_AGAIN)
    entry = LedgerEntry(
        model=name, generation=newest.generation + 1 if newest is not None else 1,
        previous=newest.generation if newest is not None else None, action="promote",
        target=candidate.model_copy(update={"role": "champion"}), version=registration.version,
        run_id=context.run_id, reason=decision.summary, who=ledger.actor(), created=ledger.now(),
        waivers=tuple(waivers), approvals=review.uses if review is not None else (),
        digests=Digests(
            adapter=candidate.adapter_digest, weights=candidate.weights_digest, base=candidate.base_digest,
            data=registration.data_digest,
            config=registration.config_digest, decision=digest_json(decision), metrics=_metrics_digest(context),
            evidence=evidence,
        ),
    )
    try:
        ledger.append(context.store, entry)
    except ConflictError as lost:
        if own := _own_entry(context, name, candidate):  # a parallel attempt of this run
            return own
        raise StageError(lost.problem, _DECIDE_AGAIN) from lost
    return entry


def _require_compared(context: StageContext, name: str, compared: ModelReference) -> None:
    rival = ledger.champion_for_run(context.store, name, context.run_id)
    if _identity(rival.target if rival is not None else None) != _identity(compared):
        now = f"The champion is now {ledger.describe(rival)}" if rival is not None else "There is no champion now"
        raise StageError(f"{now}; the gate compared {name!r} with another.", _DECIDE_AGAIN)


def _identity(model: ModelReference | None) -> str:
    """Return the digest of a model in any role; empty for none."""
    return "" if model is None or model.absent else model.digest


def _metrics_digest(context: StageContext) -> str:
    record = find_evidence(context.store, context.run_id, "metrics-candidate")
    metrics = record.require(MetricsDetails).metrics if record is not None else None
    return digest_json(metrics) if metrics is not None else ""
