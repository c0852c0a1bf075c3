"""Permissions in Kubernetes, by access reviews: the API server says what its roles allow."""

from __future__ import annotations

from thinksafe.doctor.checks import Finding, failed, ok, warning
from thinksafe.kube.client import KubernetesClient
from thinksafe.kube.refusals import ForbiddenError
from thinksafe.kube.resources import RESOURCES

Rights = tuple[tuple[str, str, tuple[str, ...]], ...]
"""Resource, API group and verbs of each right."""


def job_rights(kind: str) -> Rights:
    """Return the permissions of a stage that starts a job of a kind, watches it, and reads the logs of its pods."""
    job = RESOURCES[kind]
    return (
        (job.plural, job.group, ("list", "watch", "create", "delete")), ("pods", "", ("list",)),
        ("pods/log", "", ("get",)),
    )


def may(api: KubernetesClient, verb: str, resource: str, group: str, namespace: str) -> bool:
    """Return whether this account may do something, by a SelfSubjectAccessReview. Raises StageError."""
    attributes = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
    answer = api.post("SelfSubjectAccessReview", {"spec": {"resourceAttributes": attributes}})
    return bool(answer["status"]["allowed"])


def account_finding(
    check: str, api: KubernetesClient, account: str, rights: Rights, purpose: str, *, home: str
) -> Finding:
    """Return whether a service account has rights in the client's namespace, by LocalSubjectAccessReviews.

    Args:
        check: Name of the check.
        api: Client of the namespace in which the account needs the rights.
        account: The service account.
        rights: The rights.
        purpose: What they are for, after "may".
        home: Namespace of the account.

    Raises:
        StageError: the API refused, or did not answer.
    """
    user = f"system:serviceaccount:{home}:{account}"
    try:
        missing = [
            (verb, resource, group) for resource, group, verbs in rights for verb in verbs
            if not _user_may(api, user, verb, resource, group)
        ]
    except ForbiddenError:
        return warning(
            check, f"No permission to ask what the account {account} may do in {api.namespace} "
            "(LocalSubjectAccessReview).",
            f"Ask an administrator to run: kubectl auth can-i create {rights[0][0]} -n {api.namespace} --as {user}",
        )
    if not missing:
        return ok(check, f"The account {account} may {purpose}.")
    rules = "; ".join(
        f'apiGroups: ["{group}"], resources: ["{resource}"], verbs: [{", ".join(verbs)}]'
        for resource, group, wanted in rights
        if (verbs := [verb for verb in wanted if (verb, resource, group) in missing])
    )
    what = ", ".join(f"{verb} {resource}" for verb, resource, _ in missing)
    return failed(
        check, f"The account {account} may not {what} in {api.namespace}.", f"Add to its Role there: {rules}."
    )


def _user_may(api: KubernetesClient, user: str, verb: str, resource: str, group: str) -> bool:
    plural, _, part = resource.partition("/")
    attributes = {"verb": verb, "resource": plural, "group": group, "namespace": api.namespace}
    home = user.split(":")[2]
    answer = api.post("LocalSubjectAccessReview", {"spec": {
        "user": user, "groups": ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"],
        "resourceAttributes": {**attributes, **({"subresource": part} if part else {})},
    }})
    return bool(answer["status"]["allowed"])
