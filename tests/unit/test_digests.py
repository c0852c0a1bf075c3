"""Equal things have equal digests, and others do not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinksafe.digests import (
    canonical_json,
    derived_seed,
    digest_bytes,
    digest_file,
    digest_folder,
    digest_json,
    digest_lines,
    library_versions,
)
from thinksafe.errors import InputError
from thinksafe.records import SamplingSettings


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    # FIPS 180-4's example
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_bytes(b"abc") == known
    (tmp_path / "f").write_bytes(b"abc")
    assert digest_file(tmp_path / "f") == known


def test_order_of_keys_does_not_matter() -> None:
    assert digest_json({"b": 1, "a": {"d": 2, "c": 3}}) == digest_json({"a": {"c": 3, "d": 2}, "b": 1})
    assert digest_json([1, 2]) != digest_json([2, 1])
    assert canonical_json({"b": "ä", "a": 1.0}) == '{"a":1.0,"b":"ä"}'


def test_a_record_digests_as_its_json() -> None:
    assert digest_json(SamplingSettings()) == digest_json(SamplingSettings().model_dump(mode="json"))


def test_what_is_no_number_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest_json({"a": float("inf")})


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
def test_boundaries_of_lines_count(lines: list[str]) -> None:
    assert digest_lines(lines) == digest_lines(iter(lines))
    assert digest_lines([*lines, ""]) != digest_lines(lines)
    assert digest_lines(["".join(lines), "x"]) != digest_lines([*lines, "x"]) or len(lines) == 1


def test_folder_digest_sees_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    (folder / "sub").mkdir(parents=True)
    (folder / "one").write_text("1")
    (folder / "sub" / "two").write_text("2")
    first = digest_folder(folder)
    assert first == digest_folder(folder, ["sub/two", "one"])
    assert first != digest_folder(folder, ["one"])
    (folder / "one").rename(folder / "other")
    assert digest_folder(folder) != first
    (folder / "other").rename(folder / "one")
    (folder / "one").write_text("changed")
    assert digest_folder(folder) != first


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*missing"):
        digest_file(tmp_path / "missing")
    with pytest.raises(InputError, match=r"Cannot read .*missing"):
        digest_folder(tmp_path, ["missing"])


def test_versions_of_what_is_installed() -> None:
    from pydantic import VERSION

    assert library_versions("pydantic", "no-such-distribution") == {"pydantic": VERSION}


@given(st.integers(0, 2**31 - 1), st.text(max_size=5), st.integers(0, 100))
def test_derived_seed_fits_every_library(seed: int, name: str, index: int) -> None:
    found = derived_seed(seed, name, index)
    assert 0 <= found < 2**31
    assert found == derived_seed(seed, name, index)


def test_derived_seeds_of_purposes_differ() -> None:
    seeds = {derived_seed(seed, purpose, index) for seed in range(5) for purpose in "ab" for index in range(50)}
    assert len(seeds) == 500


def test_derived_seed_is_stable_across_versions() -> None:
    expected = int(hashlib.sha256(b'[42,"sample","pilot"]').hexdigest()[:8], 16) >> 1
    assert derived_seed(42, "sample", "pilot") == expected
