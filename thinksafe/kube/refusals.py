"""Errors of the Kubernetes API in words: what is missing or who else owns a field, and the corrective action."""

from __future__ import annotations

import json
import re
from typing import Any

from thinksafe.errors import StageError
from thinksafe.kube.resources import Resource

_OWNER = re.compile(r'conflict with "(?P<owner>[^"]+)"')
_CANNOT = re.compile(r'cannot (?P<verb>\w+) resource "(?P<plural>[^"]+)" in API group "(?P<group>[^"]*)"')
_POLICY = (
    "violates PodSecurity", "admission webhook", "ValidatingAdmissionPolicy", "exceeded quota", "failed quota",
    "security context constraint",
)
"""What a refusal says that no Role can mend."""
_USER = re.compile(r'User "(?P<user>[^"]+)"')


class ForbiddenError(StageError):
    """The account does not have the permission."""


class FieldConflictError(StageError):
    """Another field manager owns a field that the rollout sets. Nothing was changed."""


def explained(error: Any, verb: str, resource: Resource, name: str, namespace: str, section: str) -> StageError:
    """Return an error of the Kubernetes API (``ApiException``) as an error with a corrective action.

    Args:
        error: The API's answer.
        verb: Verb of the request, as in a Role.
        resource: Kind of the object.
        name: Name of the object; empty for all of them.
        namespace: Its namespace.
        section: Section of the configuration that defines the request.
    """
    status = _status(error)
    what = resource.full_name
    where = f"{what} {name!r}" if name else what
    where += f" in the namespace {namespace!r}" if resource.namespaced else ""
    message = str(status.get("message", "")) or str(getattr(error, "reason", "") or "no reason given")
    match error.status:
        case 401:
            return StageError(
                "The Kubernetes API does not accept the credentials.",
                "Renew the kubeconfig or the service account's token, and try again.",
            )
        case 403:
            return _forbidden(message, verb, resource, where, section)
        case 409 if conflicts := _conflicts(status):
            return _conflict(conflicts, where)
        case 404 if resource.group.endswith("kserve.io"):
            return StageError(
                f"The cluster has no {what}, or no namespace {namespace!r}.",
                "Install KServe or set deploy.kind: deployment, and check deploy.namespace.",
            )
        case 404 if resource.group == "trainer.kubeflow.org":
            return StageError(
                f"The cluster has no {what}, or no namespace {namespace!r}.",
                "Install Kubeflow Trainer 2.2 or later, or set training.nodes: 1 and cluster.train_job.enabled: false.",
            )
        case 404:
            return StageError(f"There is no {where}.", f"Create the namespace, or correct {section}.namespace.")
        case 400 | 422:
            return StageError(
                f"The Kubernetes API refuses {where}: {message:.600}",
                f"Correct the section {section}; an admission policy of the cluster may give more details.",
            )
    return StageError(
        f"The Kubernetes API could not {verb} {where} (HTTP {error.status}: {message:.300}).",
        "Try again; anything already applied is detected.",
    )


def _status(error: Any) -> dict[str, Any]:
    try:
        found = json.loads(error.body)
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _forbidden(message: str, verb: str, resource: Resource, where: str, section: str) -> StageError:
    found = _USER.search(message)
    who = found["user"] if found else "this user"
    if any(words in message for words in _POLICY):
        return StageError(
            f"The cluster's policy forbids {where}: {message:.600}",
            f"Ask the cluster's administrators for an exception, or change the section {section}.",
        )
    group, plural = resource.group, resource.plural
    if missing := _CANNOT.search(message):  # an apply that creates an object also needs create
        verb, plural, group = missing["verb"], missing["plural"], missing["group"]
    jobless = ", or set sampling.parallelism and evaluation.parallelism to 1." if group == "batch" else "."
    return ForbiddenError(
        f"{who} may not {verb} {where}.",
        f'Add to its Role: apiGroups: ["{group}"], resources: ["{plural}"], verbs: ["{verb}"]{jobless}',
    )


def _conflicts(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the owner and the field of each conflict."""
    causes = (status.get("details") or {}).get("causes") or []
    return [
        (found["owner"] if (found := _OWNER.search(str(cause.get("message", "")))) else "somebody else",
         str(cause.get("field", "?")))
        for cause in causes if cause.get("reason") == "FieldManagerConflict"
    ]


def _conflict(conflicts: list[tuple[str, str]], where: str) -> FieldConflictError:
    owners: dict[str, list[str]] = {}
    for owner, field in conflicts:
        owners.setdefault(owner, []).append(field)
    owned = "; ".join(f"{owner} owns {', '.join(fields)}" for owner, fields in sorted(owners.items()))
    scaled = any(field == ".spec.replicas" for _, field in conflicts)
    return FieldConflictError(
        f"Others own fields of {where} that the rollout sets: {owned}. Nothing was changed.",
        ("Set deploy.replicas: null where an autoscaler owns the replicas. " if scaled else "")
        + "Let the owner drop these fields from what it applies, or take them over once with deploy.take_over=true.",
    )
