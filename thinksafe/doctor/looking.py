"""Objects that the doctor reads by name; one that it may not read gives a warning."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from thinksafe.doctor.checks import Finding, failed, ok, warning
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


def keyed(check: str, kind: str, wanted: Mapping[str, Collection[str]], api: KubernetesClient) -> Iterator[Finding]:
    """Yield whether Secrets or ConfigMaps exist and have their keys.

    Args:
        check: Name of the check.
        kind: ``Secret`` or ``ConfigMap``.
        wanted: The keys of each, by name.
        api: Client of their namespace.
    """
    for name, keys in sorted(wanted.items()):
        found, trouble = looked_up(check, kind, name, api)
        there = found.get("data") or {}
        if trouble is not None:
            yield trouble
        elif missing := sorted(key for key in keys if not there.get(key)):
            yield failed(
                check, f"The {kind} {name} has no {', '.join(missing)}.",
                f"Add the key, or name the one that contains it in the config ({', '.join(sorted(there))}).",
            )
        else:
            yield ok(check, f"{name} has {', '.join(sorted(keys))}.")
