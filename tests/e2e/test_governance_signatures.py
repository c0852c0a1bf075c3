"""docs/governance.md as it is written: a signature that is verified, a tampered adapter that is refused."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from micro_runs import COMMAND

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

DOCS = Path(__file__).parents[2] / "docs" / "governance.md"
SECTION = "A signature that is verified, a tampered adapter that is refused"


def shell(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(COMMAND).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True, text=True, timeout=900, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def blocks(section: str) -> list[str]:
    """Return the console blocks of a section as shell scripts."""
    text = DOCS.read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    return [re.sub(r"^\$ ", "", block, flags=re.MULTILINE) for block in found]


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
    (export,) = blocks("The card, and the model to take away")
    shell(export, tmp_path)
    assert {path.name for path in (tmp_path / "mended").iterdir()} >= {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "bom.cdx.json", "tokenizer.json"
    }
    (estimate,) = blocks("The estimate")
    told = shell(estimate, tmp_path).stdout
    assert re.search(r"^  total +[\d,]+ ", told, re.MULTILINE)
    assert "unknown" not in told
    # a run that is started again finds its signatures
    shell("thinksafe run sealed.yaml --out runs/sealed", tmp_path)
    assert shell(verify, tmp_path).stdout == said
