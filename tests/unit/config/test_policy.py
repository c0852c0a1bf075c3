"""A policy is what its text says, wherever the file is."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinksafe.config import load_config, sections_of
from thinksafe.config.policy import policy_digests
from thinksafe.errors import InputError


def suite(policy: Path) -> str:
    guard = f"guard.evaluate={{kind: gpt-oss-safeguard, policy: '{policy}'}}"
    return sections_of(load_config("micro", [guard])).metrics.suite


def test_metrics_are_comparable_if_the_text_is_the_same(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.md", "two.md", "other.md"))
    one.write_text("Nothing about sheds.")
    two.write_text("\n  Nothing about sheds.\n")
    other.write_text("Nothing about ladders.")
    assert suite(one) == suite(two)
    assert suite(one) != suite(other)
    one.write_text("Nothing about ladders.")
    assert suite(one) == suite(other)


def test_a_policy_that_is_missing_stops_the_plan(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read guard\.policy"):
        suite(tmp_path / "none.md")


def test_each_guard_with_a_policy_is_named_by_its_key(tmp_path: Path) -> None:
    policy = tmp_path / "policy.md"
    policy.write_text("Nothing about sheds.")
    members = f"{{kind: micro-exact}}, {{kind: granite-guardian-4.1, policy: '{policy}'}}"
    panel = f"guard.evaluate={{kind: panel, members: [{members}]}}"
    assert list(policy_digests(load_config("micro", [panel]).guard)) == ["evaluate.members.1"]
    assert policy_digests(load_config("micro").guard) == {}
