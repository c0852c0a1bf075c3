"""A rollout from the ledger to a verdict: apply, wait, verify, and roll back on failure.

The traffic moves back first, then the ledger and the alias follow. Each step can be repeated: a stage that was killed
and restarted ends in the same state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from thinksafe.config.sections import DeploySection
from thinksafe.deploy import notices
from thinksafe.deploy.endpoint import Endpoint, address_of
from thinksafe.deploy.manifests import GENERATION, KINDS, Manifest, manifests
from thinksafe.deploy.readiness import Readiness, wait_until_ready
from thinksafe.deploy.target import Target, target_of
from thinksafe.deploy.verification import verify
from thinksafe.errors import ConfigError, ConflictError, SignatureError, StageError
from thinksafe.kube.client import KubernetesClient
from thinksafe.records import Check, Prompt, Record, Sample, Text
from thinksafe.registry import ledger
from thinksafe.registry.ledger import LedgerEntry
from thinksafe.registry.mlflow_client import connect as connect_mlflow
from thinksafe.registry.mlflow_client import reporting, resolve_tracking_uri
from thinksafe.registry.registration import trained_of
from thinksafe.registry.rollback import complete, earlier, rollback, withdraw
from thinksafe.store import Store
from thinksafe.webhook import post

if TYPE_CHECKING:
    from thinksafe.registry.signed import Seal

TAG, REASON_TAG = "thinksafe.rollout", "thinksafe.rollout_reason"
"""Tags of the model version."""

RolloutVerdict = Literal["verified", "rolled back", "withdrawn", "superseded"]


class Rollout(Record):
    """How a rollout ended."""

    schema_version: Literal[1] = 1
    model: Text
    generation: int
    """Generation that was to be served."""
    version: Text
    run_id: Text
    adapter_digest: str = ""
    weights_digest: str = ""
    kind: Text
    namespace: Text
    name: Text
    verdict: RolloutVerdict
    """``verified``: it is served and passed its checks. ``rolled back``: the previous generation is served and is
    champion. ``withdrawn``: there was no previous one; nothing is served, and there is no champion. ``superseded``:
    there is a newer generation."""
    reason: Text
    checks: tuple[Check, ...] = ()
    serving: int | None
    """Generation of the ledger that is served now; None for none, or if another run is in charge."""
    notes: tuple[str, ...] = ()
    """What else went wrong: events, webhook, tags."""


@dataclass
class Roller:
    """Rolls generations of one model out to one cluster.

    Args:
        store: Ledger and adapters.
        section: The stage's section.
        cluster: Client of the cluster.
        open_endpoint: Returns the client of the served model for its address.
    """

    store: Store
    section: DeploySection
    cluster: KubernetesClient
    open_endpoint: Callable[[str], Endpoint] | None = None
    notes: list[str] = field(default_factory=list)

    def run(
        self, entry: LedgerEntry, prompts: list[Prompt], expected: list[Sample], advance: Callable[[int], None]
    ) -> Rollout:
        """Roll a generation out, verify it, and roll it back if it fails.

        Args:
            entry: Generation that the run promoted.
            prompts: Evaluation prompts.
            expected: Greedy responses of the generation's model.
            advance: Called with the number of finished requests to the served model.

        Raises:
            SignatureError: signatures are demanded, and the newest generation is not signed; nothing is served anew.
            ConfigError, StageError: the cluster, the store or MLflow refused or did not answer; nothing was decided.
        """
        newest = ledger.newest(self.store, entry.model)
        if newest is None or newest.action == "withdraw" or newest.target.digest != entry.target.digest:
            return self._overtaken(entry, newest)
        target = self._servable(newest)
        if (served := self._served_generation()) > target.generation:
            return self._end(entry, "superseded", f"Generation {served} is served already.", None)
        state = self._roll(target)
        checks: list[Check] = []
        if state.ready:
            checks = verify(self._endpoint(state), self.section, target, prompts, expected, advance)
            failed = [check for check in checks if not check.passed]
            reason = " ".join(check.reason for check in failed or checks)
            if not failed:
                return self._end(entry, "verified", reason, newest.generation, checks)
        else:
            reason = f"The pods did not become ready: {state.reason}."
        return self._take_back(newest, reason, checks)

    def serve(self, entry: LedgerEntry) -> Readiness:
        """Roll a generation out by hand, without verification, and return whether it became ready.

        Raises:
            SignatureError: signatures are demanded, and the generation is not signed.
        """
        state = self._roll(self._servable(entry))
        if state.ready:
            self._tell("served", f"Generation {entry.generation} of {entry.model} is served.", entry, entry.generation)
        return state

    def withdraw(self, entry: LedgerEntry) -> None:
        """Serve nothing, by hand, after a withdrawal. Raises StageError."""
        self.apply(self._target(entry), withdrawn=True)
        self._tell("withdrawn", f"Generation {entry.generation} of {entry.model}: {entry.reason}", entry, None)

    def apply(self, target: Target, *, withdrawn: bool = False) -> None:
        """Apply a target's manifests. Raises StageError; a conflict changes nothing more."""
        objects: list[Manifest] = manifests(self.section.deploy, target, withdrawn=withdrawn)
        for manifest in objects:
            self.cluster.apply(manifest, force=self.section.deploy.take_over)

    def _target(self, entry: LedgerEntry) -> Target:
        return target_of(self.store, entry, self.section.deploy, self.section.sign)

    def _servable(self, entry: LedgerEntry) -> Target:
        """Return a generation as a target. Raises SignatureError if signatures are demanded and it has none."""
        if (seal := self._seal(entry.model)) is not None and seal.require_servable(entry.generation) != entry:
            raise SignatureError(
                f"Generation {entry.generation} of {entry.model!r} is not what is to be served.", "Start again."
            )
        return self._target(entry)

    def _seal(self, model: str) -> Seal | None:
        if self.section.sign is None:
            return None
        from thinksafe.registry.signed import Seal

        return Seal(self.store, model, self.section.sign)

    def _roll(self, target: Target) -> Readiness:
        self.apply(target)
        return wait_until_ready(self.cluster, self.section.deploy, target.digest)

    def _served_generation(self) -> int:
        """Return the generation in the live object; 0 for none."""
        found, _ = self.cluster.look(KINDS[self.section.deploy.kind], self.section.deploy.name)
        named = str(((found or {}).get("metadata", {}).get("annotations") or {}).get(GENERATION, ""))
        return int(named) if named.isdigit() else 0

    def _endpoint(self, state: Readiness) -> Endpoint:
        address = address_of(self.section.deploy, state.url)
        return (self.open_endpoint or (lambda found: Endpoint(found, self.section.deploy)))(address)

    def _overtaken(self, entry: LedgerEntry, newest: LedgerEntry | None) -> Rollout:
        """End a rollout whose generation is no longer the champion: finish its own rollback, or leave it alone."""
        if newest is None:
            raise StageError(f"Nothing was promoted to {entry.model!r}.", "Pass the promotion of this run.")
        if newest.action == "rollback":
            state = self._roll(self._servable(newest))
            if not state.ready:
                raise StageError(*_not_back(newest, state))
            complete(self.store, entry.model, tracking_uri=self.section.registry.tracking_uri)
            return self._end(entry, "rolled back", newest.reason, newest.generation)
        if newest.action == "withdraw" and newest.target.digest == entry.target.digest:
            return self._withdraw(entry, newest.previous, newest.reason, ())
        return self._end(entry, "superseded", f"The champion is now {ledger.describe(newest)}.", None)

    def _take_back(self, entry: LedgerEntry, reason: str, checks: list[Check]) -> Rollout:
        """Serve the previous generation again, then record it in ledger and registry."""
        model, uri = entry.model, self.section.registry.tracking_uri
        try:
            before = earlier(ledger.entries(self.store, model))
            target = self._servable(before)
        except (ConfigError, SignatureError) as error:
            why = f"The one before it is not: {error.problem}" if isinstance(error, SignatureError) else ""
            self.apply(self._target(entry), withdrawn=True)
            return self._withdraw(
                entry, entry.generation, f"{reason} {why or 'There is no generation before it.'}", checks
            )
        state = self._roll(target)
        try:
            back = rollback(
                self.store, model, to=None, reason=f"rollout of generation {entry.generation}: {reason}",
                tracking_uri=uri, of=entry.generation, seal=self._seal(model),
            )
        except ConflictError as lost:
            raise StageError(lost.problem, "Start the same stage again; it follows the ledger as it is then.") from lost
        self.apply(self._target(back))  # the same pods, under the new generation
        if not state.ready:
            raise StageError(*_not_back(back, state))
        return self._end(entry, "rolled back", reason, back.generation, checks)

    def _withdraw(self, entry: LedgerEntry, of: int | None, reason: str, checks: Sequence[Check]) -> Rollout:
        """Record in ledger and registry that there is no champion any more: the generation is no longer served."""
        try:
            gone = withdraw(
                self.store, entry.model, reason=f"rollout of generation {entry.generation}: {reason}",
                tracking_uri=self.section.registry.tracking_uri, of=of,
            )
        except ConflictError as lost:
            raise StageError(lost.problem, "Start the same stage again; it follows the ledger as it is then.") from lost
        self.apply(self._target(gone), withdrawn=True)  # under the new generation
        return self._end(entry, "withdrawn", reason, None, checks)

    def _end(
        self, entry: LedgerEntry, verdict: RolloutVerdict, reason: str, serving: int | None,
        checks: Sequence[Check] = (),
    ) -> Rollout:
        if verdict != "superseded":
            self._tag(entry, verdict, reason)
        self._tell(verdict, f"Generation {entry.generation} of {entry.model}: {verdict}. {reason}", entry, serving)
        deploy = self.section.deploy
        return Rollout(
            model=entry.model, generation=entry.generation, version=entry.version, run_id=entry.run_id,
            **trained_of(entry.target).digests, kind=deploy.kind, namespace=deploy.namespace, name=deploy.name,
            verdict=verdict, reason=reason, checks=tuple(checks), serving=serving, notes=tuple(self.notes),
        )

    def _tag(self, entry: LedgerEntry, verdict: str, reason: str) -> None:
        """Tag the model version; the ledger already records it, so a failure only adds a note."""
        try:
            uri = resolve_tracking_uri(self.section.registry.tracking_uri)
            with reporting(uri, "tag the model version"):
                client = connect_mlflow(uri)
                client.set_model_version_tag(entry.model, entry.version, TAG, verdict)
                client.set_model_version_tag(entry.model, entry.version, REASON_TAG, reason[:500])
        except (ConfigError, StageError) as error:
            self.notes.append(f"The model version was not tagged: {error.problem}")

    def _tell(self, verdict: str, message: str, entry: LedgerEntry, serving: int | None) -> None:
        deploy = self.section.deploy
        facts: dict[str, Any] = {
            "model": entry.model, "generation": entry.generation, "version": entry.version, "run_id": entry.run_id,
            **trained_of(entry.target).digests, "verdict": verdict, "message": message, "serving": serving,
            "namespace": deploy.namespace, "name": deploy.name, "kind": deploy.kind,
        }
        if problem := notices.event(self.cluster, deploy, verdict, message):
            self.notes.append(problem)
        if (answer := post(deploy.webhook_env, facts)).failed:
            self.notes.append(f"Webhook {answer.words}.")


def _not_back(entry: LedgerEntry, state: Readiness) -> tuple[str, str]:
    problem = f"The champion is now that of generation {entry.generation}, and its pods are not ready: {state.reason}."
    return problem, "Look at the pods; start the same stage again, or `thinksafe rollback --deploy`."
