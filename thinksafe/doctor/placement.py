"""Which nodes could run a stage's pods: selectors, required affinity, taints, accelerators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from thinksafe.config.cluster_stages import NodeExpression, StageSettings, TolerationSettings
from thinksafe.kube.client import Object


def refusals(node: Object, settings: StageSettings) -> str:
    """Return why a node cannot run a pod of the stage, "" if it can; preferences exclude no node.

    Args:
        node: A Kubernetes Node.
        settings: Settings of the stage.
    """
    labels, spec = node["metadata"].get("labels") or {}, node.get("spec") or {}
    for key, value in (settings.node_selector or {}).items():
        if labels.get(key) != value:
            return f"label {key}={value}"
    required = [term for term in settings.affinity or () if not term.weight]
    if required and not any(all(_meets(labels, one) for one in term.expressions) for term in required):
        return "affinity"
    if spec.get("unschedulable"):
        return "cordoned"
    for taint in spec.get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not any(_bears(taint, one) for one in settings.tolerations or ()):
            return f"taint {taint['key']}"
    gpu = settings.gpu
    if gpu is not None and gpu.count:
        has = int(((node.get("status") or {}).get("allocatable") or {}).get(gpu.type, 0))
        if has < gpu.count:
            return f"{has} of {gpu.count} {gpu.type}"
    return ""


def _bears(taint: Object, toleration: TolerationSettings) -> bool:
    if toleration.effect and toleration.effect != taint["effect"]:
        return False
    if not toleration.key:
        return True
    if toleration.key != taint["key"]:
        return False
    return toleration.operator == "Exists" or toleration.value == (taint.get("value") or "")


def _meets(labels: Mapping[str, str], demand: NodeExpression) -> bool:
    there, value = demand.key in labels, labels.get(demand.key, "")
    match demand.operator:
        case "Exists":
            return there
        case "DoesNotExist":
            return not there
        case "In":
            return there and value in demand.values
        case "NotIn":
            return value not in demand.values or not there
        case "Gt" | "Lt":
            try:
                number, limit = int(value), int(demand.values[0])
            except ValueError:
                return False
            return number > limit if demand.operator == "Gt" else number < limit


def reasons(nodes: Iterable[Object], settings: StageSettings) -> tuple[int, str]:
    """Return how many nodes could run the stage, and how often each reason rules out the others."""
    counted: dict[str, int] = {}
    fitting = 0
    for node in nodes:
        why = refusals(node, settings)
        fitting += not why
        if why:
            counted[why] = counted.get(why, 0) + 1
    return fitting, ", ".join(f"{why} ({count})" for why, count in sorted(counted.items()))
