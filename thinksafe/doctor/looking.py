"""Objects that the doctor reads by name; what it may not read is a warning."""

from __future__ import annotations

from thinksafe.doctor.checks import Finding, failed, warning
from thinksafe.kube.client import KubernetesClient, Object
from thinksafe.kube.refusals import ForbiddenError
from thinksafe.kube.resources import RESOURCES

LOOK = "Ignore this if pods start; otherwise give the doctor the right to get it in this namespace."


def looked_up(check: str, kind: str, name: str, api: KubernetesClient) -> tuple[Object, Finding | None]:
    """Return an object, and a finding if it cannot be read; the object is then empty."""
    what = f"{kind} {name}" + (f" in {api.namespace}" if RESOURCES[kind].namespaced else "")
    try:
        found = api.get(kind, name)
    except ForbiddenError:
        return {}, warning(check, f"No permission to read the {what}.", LOOK)
    if found is None:
        return {}, failed(check, f"There is no {what}.", f"Create the {what}.")
    return found, None
