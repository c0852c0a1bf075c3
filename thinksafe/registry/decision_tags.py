"""The gate's decision on a model version in MLflow."""

from __future__ import annotations

from thinksafe.deciding.waivers import applied, decision_word, described
from thinksafe.digests import digest_json
from thinksafe.records import Decision
from thinksafe.registry.approvals import Review
from thinksafe.registry.mlflow_client import connect, reporting, resolve_tracking_uri
from thinksafe.registry.registration import Registration

TAG, DESCRIPTION = 5000, 5000
"""Longest tag and description of a version that MLflow keeps, in characters."""


def tag_decision(registration: Registration, decision: Decision) -> None:
    """Tag a version with the gate's decision: ``passed``, ``passed with waivers`` or ``refused``.

    ``thinksafe.decision`` is the outcome; ``thinksafe.waivers`` says who waived which check until when, and why. The
    version's description, which MLflow shows as Markdown, gives the decision and its reasons (:func:`description`).

    Raises:
        ConfigError: no tracking URI.
        StageError: MLflow failed.
    """
    uri = resolve_tracking_uri(registration.tracking_uri)
    client = connect(uri)
    with reporting(uri, f"tag version {registration.version} of {registration.name!r}"):
        name, version = registration.name, registration.version
        uses = [f"{described(use)}: {' '.join(use.reason.split())}" for use in applied(decision)]
        client.update_model_version(name, version, description(registration, decision))
        tags = {
            "thinksafe.decision_digest": digest_json(decision),
            "thinksafe.waivers": "; ".join(uses)[:TAG],
            "thinksafe.decision": decision_word(decision),
        }
        for key, value in tags.items():
            if value:
                client.set_model_version_tag(name, version, key, value)
            elif key in client.get_model_version(name, version).tags:  # of an earlier attempt
                client.delete_model_version_tag(name, version, key)


def _named(registration: Registration) -> str:
    if registration.weights_digest:
        return f"weights {registration.weights_digest[:12]}"
    return f"adapter {registration.adapter_digest[:12]}"


def description(registration: Registration, decision: Decision) -> str:
    """Return the decision on a version and its reasons: summary, failed checks, waivers, and where the report is.

    The lists are shortened if necessary, so that the last line always fits.
    """
    said = {
        "passed": "The gate passed this version.", "passed with waivers": "The gate passed this version with waivers.",
        "refused": "The gate refused this version.",
    }[decision_word(decision)]
    lines = [f"**{said}** {decision.summary}"]
    lines += [f"- {check.name}: {check.reason}" for check in decision.checks if check.status == "failed"]
    lines += [f"- {described(use)}: {' '.join(use.reason.split())}" for use in applied(decision)]
    lines += [f"- Note: {note}" for note in decision.notes]
    last = (
        f"Run {registration.run_id}, {_named(registration)}. All checks and numbers: report.html "
        f"among the artifacts of the MLflow run {registration.mlflow_run}."
    )
    return "\n".join(lines)[: DESCRIPTION - len(last) - 2] + "\n\n" + last


def tag_approval(registration: Registration, review: Review) -> None:
    """Tag a version with where it stands: ``thinksafe.approval`` is the state, ``thinksafe.approvals`` who and why.

    Raises:
        ConfigError: no tracking URI.
        StageError: MLflow failed.
    """
    uri = resolve_tracking_uri(registration.tracking_uri)
    client = connect(uri)
    state = "awaiting approval" if review.state == "waiting" else review.state
    with reporting(uri, f"tag version {registration.version} of {registration.name!r}"):
        for key, value in (("thinksafe.approval", state), ("thinksafe.approvals", review.words[:TAG])):
            client.set_model_version_tag(registration.name, registration.version, key, value)
