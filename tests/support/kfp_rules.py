"""What the API server of Kubeflow Pipelines refuses in a request, read in its source (apiserver/{list,filter,server}).

Stricter in one place: fields that its messages do not have are refused, where the server drops them without a word.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import kfp_server_api

from thinksafe.config.cron import parse

LONGEST_NAME, LONGEST_PARAMETERS = 128, 10_000
DEFAULT_PAGE, LARGEST_PAGE = 20, 2
"""The largest is 200 there; here a few items are several pages already."""
OPERATIONS = {"EQUALS": 1, "NOT_EQUALS": 2, "IS_SUBSTRING": 9}
KEYS = {
    "pipelines": {"pipeline_id", "display_name", "name", "created_at", "description", "namespace"},
    "pipeline_versions": {"pipeline_version_id", "display_name", "name", "created_at", "description"},
    "experiments": {"experiment_id", "display_name", "name", "created_at", "last_run_created_at", "namespace"},
    "recurringRuns": {"recurring_run_id", "display_name", "name", "created_at", "updated_at", "status", "namespace"},
    "runs": {"run_id", "display_name", "name", "created_at", "scheduled_at", "state", "namespace"},
}
"""Fields that can be filtered and sorted by."""
MESSAGES = {
    "pipelines": "V2beta1Pipeline", "experiments": "V2beta1Experiment", "recurringruns": "V2beta1RecurringRun",
    "runs": "V2beta1Run",
}


class Refusal(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def page(name: str, items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    """Return a page of items as the query asks for it; the token holds what it was made for."""
    if unknown := set(query) - {"filter", "page_token", "page_size", "sort_by", "namespace", "experiment_id"}:
        raise Refusal(400, f"unknown query parameters {unknown}")
    for predicate in predicates(name, query.get("filter", "")):
        items = [item for item in items if meets(item, *predicate)]
    items = ordered(name, items, query.get("sort_by", ""))
    asked = {key: query.get(key, "") for key in ("filter", "sort_by")}
    first, size = first_of(query.get("page_token", ""), asked), page_size(query.get("page_size", ""))
    last = first + size
    token = base64.b64encode(json.dumps({**asked, "first": last}).encode()).decode()
    more = {"next_page_token": token} if items[last:] else {}
    return {name: items[first:last], "total_size": len(items), **more}


def page_size(text: str) -> int:
    if not re.fullmatch(r"-?\d+", text or "0"):
        raise Refusal(400, "page_size is no number")
    if (size := int(text or 0)) < 0:
        raise Refusal(400, "the page size should be greater than 0")
    return min(size or DEFAULT_PAGE, LARGEST_PAGE)


def first_of(token: str, asked: dict[str, str]) -> int:
    if not token:
        return 0
    try:
        held = json.loads(base64.b64decode(token, validate=True))
        first = int(held.pop("first"))
    except (ValueError, KeyError, AttributeError) as error:
        raise Refusal(400, "invalid package token") from error
    if held != asked:
        raise Refusal(400, "page token does not match the supplied sort by and/or filtering criteria")
    return first


def predicates(name: str, text: str) -> list[tuple[str, str, str]]:
    """Return key, operation and value of each predicate of a filter."""
    if not text:
        return []
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Refusal(400, "the filter is no JSON") from error
    if not isinstance(given, dict) or set(given) - {"predicates"}:
        raise Refusal(400, "the filter is no message Filter")
    found = []
    for predicate in given.get("predicates", []):
        if unknown := set(predicate) - {"operation", "key", "stringValue", "string_value"}:
            raise Refusal(400, f"a predicate has no fields {unknown}")
        operation = predicate.get("operation")
        operation = next((word for word, number in OPERATIONS.items() if operation in (word, number)), "")
        value = predicate.get("stringValue", predicate.get("string_value"))
        if not operation or not isinstance(value, str):
            raise Refusal(400, "invalid predicate operation or value")
        if predicate.get("key") not in KEYS[name]:
            raise Refusal(400, f"no support for filtering on unrecognized field {predicate.get('key')!r}")
        found.append((predicate["key"], operation, value))
    return found


def meets(item: dict[str, Any], key: str, operation: str, value: str) -> bool:
    """As the server's SQL compares: in lower case."""
    has, wanted = str(item.get(key, "")).lower(), value.lower()
    if operation == "IS_SUBSTRING":
        return wanted in has
    return (has == wanted) == (operation == "EQUALS")


def ordered(name: str, items: list[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    words = text.lower().split()
    if len(words) > 2 or words[1:] not in ([], ["asc"], ["desc"]):
        raise Refusal(400, f"invalid sort by format {text!r}")
    if words and words[0] not in KEYS[name]:
        raise Refusal(400, f"invalid sorting field {words[0]!r}")
    return items[::-1] if words[1:] == ["desc"] else items  # they are kept in the order in which they were made


def message(kind: str, body: Any) -> dict[str, Any]:
    """Return the body of a request, which has to be of the kind's message."""
    if not isinstance(body, dict):
        raise Refusal(400, "the body is no message")
    fields = set(getattr(kfp_server_api, MESSAGES[kind]).attribute_map.values())
    if unknown := set(body) - fields:
        raise Refusal(400, f"{MESSAGES[kind]} has no fields {unknown}")
    name_of(body.get("display_name", ""))
    parameters = (body.get("runtime_config") or {}).get("parameters") or {}
    if len(json.dumps(parameters)) > LONGEST_PARAMETERS:
        raise Refusal(400, f"the input parameter length exceeds the maximum size of {LONGEST_PARAMETERS}")
    return body


def name_of(text: Any) -> str:
    if not isinstance(text, str) or not text:
        raise Refusal(400, "the name is empty")
    if len(text) > LONGEST_NAME:
        raise Refusal(400, f"the name has more than {LONGEST_NAME} characters")
    return text


def schedule(body: dict[str, Any]) -> None:
    """Check what makes a recurring run one."""
    if not 1 <= int(body.get("max_concurrency") or 0) <= 10:
        raise Refusal(400, "the max concurrency of the recurring run is out of range, support 1-10")
    if body.get("mode") not in ("ENABLE", "DISABLE"):
        raise Refusal(400, "the mode is neither ENABLE nor DISABLE")
    try:
        parse(body["trigger"]["cron_schedule"]["cron"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refusal(400, f"schedule cron is not a supported format: {error}") from error


def specification(documents: list[Any]) -> None:
    """Check an uploaded pipeline: one or two documents, the pipeline and what Kubernetes has to know."""
    if not 1 <= len(documents) <= 2 or not isinstance(documents[0], dict) or "pipelineInfo" not in documents[0]:
        raise Refusal(400, "not a pipeline")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", documents[0]["pipelineInfo"].get("name", "")):
        raise Refusal(400, "invalid pipeline name")
    missing = {"schemaVersion", "sdkVersion", "root", "components", "deploymentSpec"} - set(documents[0])
    if missing:
        raise Refusal(400, f"the pipeline lacks {missing}")
    if documents[1:] and "platforms" not in documents[1]:
        raise Refusal(400, "the second document is no platform spec")
