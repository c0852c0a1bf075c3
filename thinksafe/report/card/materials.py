"""The bill of materials of a run, in CycloneDX 1.6 (ECMA-424): base, result, data sets, guards, libraries, images."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from thinksafe.digests import digest_json
from thinksafe.report.card import sources
from thinksafe.report.card.sources import Source
from thinksafe.report.summary import RunSummary

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

_SHA256 = re.compile(r"[0-9a-f]{64}")
_IMAGE = re.compile(r"(?P<name>[^@\s]+)@sha256:(?P<digest>[0-9a-f]{64})")


def bill_of_materials(summary: RunSummary) -> str:
    """Return the bill of materials as JSON. It names no prompt and no response.

    The serial number follows from the run and what it trained, so that a repeated report writes the same document.

    Args:
        summary: A run that made a candidate.
    """
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    run = summary.provenance
    name = sources.named(summary.setting("registry", "model") or run.recipe)
    trained = _component(
        ComponentType.MACHINE_LEARNING_MODEL, name, version=sources.named(summary.registration.get("version")),
        digest=run.trained_digest, properties={
            "run": sources.named(summary.run_id), "method": sources.named(run.method),
            "config_digest": sources.named(run.config_digest), "outcome": summary.outcome,
        },
    )
    base, teacher = sources.base(summary), sources.teacher(summary)
    models = [found for found in (base, teacher, *sources.guards(summary)) if found is not None and found.name]
    parts = [
        *(_source(found, ComponentType.MACHINE_LEARNING_MODEL) for found in models),
        *(_source(found, ComponentType.DATA) for found in sources.data_sets(summary)),
        *(_library(library, sources.named(version)) for library, version in sorted(run.code.items()) if version),
        *_images(summary),
    ]
    number = uuid.uuid5(uuid.NAMESPACE_URL, digest_json([summary.run_id, run.trained_digest]))
    bom = Bom(components=parts, metadata=BomMetaData(component=trained), serial_number=number)
    bom.metadata.timestamp = None  # type: ignore[assignment]  # the library takes none, and the type says otherwise
    bom.register_dependency(trained, parts)
    text: str = JsonV1Dot6(bom).output_as_string()
    return json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def _source(found: Source, kind: Any) -> Component:
    properties = {"use": found.use, "origin": found.origin, "identity": found.digest}
    if found.rows:
        properties["prompts"] = str(found.rows)
    return _component(
        kind, found.name, version=found.revision, digest=found.digest, licence=found.licence, properties=properties,
        reference=f"{found.use}/{found.name}",
    )


def _library(name: str, version: str) -> Component:
    from cyclonedx.model.component import ComponentType
    from packageurl import PackageURL

    kind = ComponentType.PLATFORM if name == "python" else ComponentType.LIBRARY
    component = _component(kind, name, version=version)
    if name != "python":
        component.purl = PackageURL("pypi", None, name, version)
    return component


def _images(summary: RunSummary) -> Iterable[Component]:
    from cyclonedx.model.component import ComponentType

    images = summary.setting("cluster", "images", default={})
    for use, image in sorted(images.items()) if isinstance(images, dict) else ():
        if isinstance(image, str) and (found := _IMAGE.fullmatch(image)):
            yield _component(ComponentType.CONTAINER, found["name"], digest=found["digest"], properties={"use": use})


def _component(
    kind: Any, name: str, *, version: str = "", digest: str = "", licence: str = "",
    properties: dict[str, str] | None = None, reference: str = "",
) -> Component:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import DisjunctiveLicense

    return Component(
        type=kind, name=name or "unknown", version=version or None,
        bom_ref=f"{kind.value}:{reference or name}@{version or digest}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)] if _SHA256.fullmatch(digest) else [],
        licenses=[DisjunctiveLicense(name=licence)] if licence else [],
        properties=[
            Property(name=f"thinksafe:{key}", value=value) for key, value in (properties or {}).items() if value
        ],
    )
