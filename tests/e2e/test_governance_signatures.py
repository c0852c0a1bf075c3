"""docs/governance.md as it is written: a signature that is verified, a tampered adapter that is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from governance_walk import blocks, shell

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

SECTION = "A signature that is verified, a tampered adapter that is refused"


def test_a_signature_that_is_verified_and_a_tampered_adapter_that_is_refused(tmp_path: Path) -> None:
    run, verify, tamper = blocks(SECTION)
    assert "Promoted" in shell(run, tmp_path).stdout
    assert list(tmp_path.glob("runs/sealed/store/adapters/*/*.signatures/micro-student@1.json"))
    said = shell(verify, tmp_path).stdout
    assert "ledger: 1 generations are signed" in said
    assert "files: micro-student@1 (generation 1), signed by key-1" in said
    assert re.search(r"records: \d\d of the run", said)
    refused = shell(tamper, tmp_path)
    assert "adapter_model.safetensors differs" in refused.stderr
    secret = (tmp_path / "private-key.pem").read_text().splitlines()[-3]
    for path in (tmp_path / "runs").rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    (look,) = blocks("The card, the page, the estimate")
    shown = shell(look, tmp_path).stdout
    assert "# micro-student" in shown, "the card"
    assert "micro-student" in (tmp_path / "runs" / "fleet" / "index.html").read_text("utf-8")
    assert {path.name for path in (tmp_path / "mended").iterdir()} >= {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "bom.cdx.json", "tokenizer.json"
    }
    assert re.search(r"^  total +[\d,]+ ", shown, re.MULTILINE), "the estimate"
    assert "tokens: run" in shown, "it rests on the run"
    # a run that is started again finds its signatures
    shell("thinksafe run sealed.yaml --out runs/sealed", tmp_path)
    assert shell(verify, tmp_path).stdout == said
