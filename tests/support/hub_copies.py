"""A student and data sets named as on the hub, as copies of them lie in an S3 mirror of it."""

from __future__ import annotations

from typing import Any

from thinksafe.jsonl import dump_lines
from thinksafe.micro.students import student_path
from thinksafe.micro.world import prompts
from thinksafe.store.base import Store

COMMIT = "a" * 40
SETS: dict[str, tuple[Any, Any, int]] = {
    "harmful": ("train", "harmful", 60), "benign": ("train", "benign", 60), "harm": ("test", "harmful", 60),
    "twins": ("test", "safe-twin", 60), "sums": ("test", "reasoning", 80),
}
"""Split, kind and number of the micro world's prompts, by name of the data set."""


def fill(mirror: Store) -> None:
    """Put copies of a student and of data sets where docs/cluster.md says that the mirror has them."""
    for path in student_path("default").iterdir():
        mirror.put_file(f"acme/student/{COMMIT}/{path.name}", path)
    for name, (split, kind, count) in SETS.items():
        rows = prompts(split, kind, count, 3)
        mirror.put(f"datasets/acme/{name}/{COMMIT}/train.jsonl", dump_lines(rows))


def hub_config() -> dict[str, Any]:
    """Return the micro recipe with that student and those data sets."""

    def given(name: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "prompts": {"source": "hub", "repo": f"acme/{name}", "revision": COMMIT, **fields}}

    return {
        "extends": "micro",
        "student": {"model": "acme/student", "revision": COMMIT},
        "data": {"harmful": [given("harmful")], "benign": [given("benign")]},
        "diagnose": {"prompts": 30},
        "training": {"epochs": 2},
        "evaluation": {
            "benchmarks": [
                given("harm") | {"metric": "harm"}, given("twins") | {"metric": "over_refusal"},
                given("sums", fields={"answer": "answer"}) | {"metric": "reasoning"},
            ],
        },
    }
