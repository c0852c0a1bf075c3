"""Where the page goes, and how it links to reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from thinksafe.errors import ConfigError, StoreError
from thinksafe.fleet import places


@pytest.mark.parametrize(
    ("root", "out", "expected"),
    [
        ("/data/store", "/data/page", "../store/reports/r%201/report.html"),
        ("/data/store", "/data/store/fleet/", "../reports/r%201/report.html"),
        ("s3://b/runs", "s3://b/runs/fleet", "../reports/r%201/report.html"),
        ("s3://b/runs/", "s3://b/fleet/", "../runs/reports/r%201/report.html"),
        ("s3://b", "s3://b/fleet", "../reports/r%201/report.html"),
        ("s3://b/runs", "s3://other/fleet", ""),
        ("s3://b/runs", "/data/page", ""),
        ("/data/store", "s3://b/fleet", ""),
    ],
)
def test_links_are_relative_where_both_can_be_copied_together(root: str, out: str, expected: str) -> None:
    assert places.links(out)(root, "r 1") == expected


def test_a_run_cannot_make_a_link_to_elsewhere() -> None:
    for run in ("javascript:alert(1)", "//evil.example", "?x", "#x", "a\"b", "\\"):
        found = places.links("/data/page")("/data/store", run)
        assert found.startswith("../store/reports/")
        assert not set(found) & set('"?#:\\<>')


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    address = places.inside(str(tmp_path / "new" / "folder"), "x")
    assert places.read(address) == b""
    places.write(address, b"1")
    assert places.read(address) == b"1"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="Could not write"):
        places.write(str(tmp_path / "file" / "x"), b"")
    for wrong in ("s3://bucket", "s3://bucket/"):
        with pytest.raises(ConfigError, match="does not name an object"):
            places.write(wrong, b"")


def test_names_in_buckets() -> None:
    assert places.inside("s3://b/p/", "x") == places.inside("s3://b/p", "x") == "s3://b/p/x"
