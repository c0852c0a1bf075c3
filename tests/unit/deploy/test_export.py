"""`thinksafe export`: what is in the folder, that it loads, and what is refused before anything is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from signed_worlds import Key

from thinksafe.deploy.export import CARD, MATERIALS, export
from thinksafe.digests import digest_bytes, digest_folder
from thinksafe.errors import ConfigError, InputError, SignatureError, StageError, StoreError, ThinkSafeError
from thinksafe.models.loading import load_model, resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.models.trained import ADAPTER_FILES
from thinksafe.registry import ledger
from thinksafe.registry.ledger import Digests, LedgerEntry
from thinksafe.registry.signed import Seal
from thinksafe.registry.versions import find_release
from thinksafe.run.record import StageRecord, write_stage_record
from thinksafe.settings import StudentSettings
from thinksafe.signing.trained import bundle_key, ensure_signed, subject
from thinksafe.store.local import LocalStore

STUDENT = StudentSettings(model="micro://default", dtype="float32")
DOCUMENTS = {
    CARD: b"---\nlibrary_name: peft\ntags:\n- safety\n- lora\n---\n\n# card\n\nload it with PEFT\n", MATERIALS: b"{}\n",
}
TOKENIZER = {"chat_template.jinja", "tokenizer.json", "tokenizer_config.json"}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the micro student that changes what it says."""
    import torch
    from peft import LoraConfig, get_peft_model

    from thinksafe.training.adapters import adapter_state, write_adapter

    base = ModelReference(role="base", student=STUDENT, base_digest=resolve_student(STUDENT).digest)
    folder = tmp_path_factory.mktemp("adapter")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        settings = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
        model = get_peft_model(load_model(base, LocalStore(folder)), settings)
    model.peft_config["default"].base_model_name_or_path = STUDENT.model
    write_adapter(model, adapter_state(model, sharded=False), folder)
    return folder


@pytest.fixture
def champion(store: LocalStore, adapter: Path) -> ModelReference:
    """The adapter as champion of `mended`, version 7, made by run-1, whose report published its documents."""
    digest = digest_folder(adapter, ADAPTER_FILES)
    for name in ADAPTER_FILES:
        store.put_file(f"adapters/key/{digest}/{name}", adapter / name)
    reference = ModelReference(
        role="champion", student=STUDENT, base_digest=resolve_student(STUDENT).digest,
        adapter=f"adapters/key/{digest}", adapter_digest=digest,
    )
    ledger.append(store, LedgerEntry(
        model="mended", generation=1, previous=None, action="promote", target=reference, version="7", run_id="run-1",
        digests=Digests(adapter=digest, base=reference.base_digest), reason="passed", who="ann", created=ledger.now(),
    ))
    published(store, "run-1")
    return reference


def published(store: LocalStore, run_id: str) -> None:
    for name, data in DOCUMENTS.items():
        store.put(f"reports/{run_id}/{name}", data)
    outputs = {name: digest_bytes(data) for name, data in DOCUMENTS.items()}
    record(store, run_id, "report", outputs=outputs)


def record(store: LocalStore, run_id: str, task: str, **rest: Any) -> None:
    write_stage_record(store, StageRecord(
        run_id=run_id, stage=task, task=task, status="succeeded", started=1.0, seconds=1.0, **rest
    ))


def exported(store: LocalStore, out: Path, version: str = "", **rest: Any) -> Path:
    given: dict[str, Any] = {"merge": False, "tell": lambda _: None, **rest}
    return export(store, find_release(store, "mended", version), out, **given)


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(torch.tensor([[5, 9, 17, 4]])).logits


def test_the_folder_loads_with_peft_and_has_tokenizer_card_and_materials(
    store: LocalStore, champion: ModelReference, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    folder = exported(store, tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {*ADAPTER_FILES, *TOKENIZER, *DOCUMENTS}
    assert (folder / CARD).read_bytes() == DOCUMENTS[CARD]
    base = load_model(champion.model_copy(update={"adapter": "", "adapter_digest": ""}), store)
    before = logits(base)
    found = logits(PeftModel.from_pretrained(base, folder))
    assert torch.equal(found, logits(load_model(champion, store)))
    assert not torch.equal(found, before)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert {path.name for path in tmp_path.iterdir()} == {"out", "store"}


def test_a_merged_folder_loads_by_itself(store: LocalStore, champion: ModelReference, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    said: list[str] = []
    (tmp_path / "out").mkdir()  # empty
    folder = exported(store, tmp_path / "out", merge=True, tell=said.append)
    assert "GiB of memory" in said[0]
    merged, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert torch.allclose(logits(merged), logits(load_model(champion, store)), atol=1e-4)
    names = {path.name for path in folder.iterdir()}
    assert names >= {"model.safetensors", "config.json", *TOKENIZER, *DOCUMENTS}
    assert not names & set(ADAPTER_FILES)
    card = (folder / CARD).read_text()
    assert "library_name: transformers" in card
    assert "- lora" not in card
    assert "merged into the base" in card
    assert "# card" in card


def test_all_weights_are_exported_as_they_are(store: LocalStore, tmp_path: Path) -> None:
    reference = weights(store, {"config.json": b"{}", "model.safetensors": b"w", "tokenizer.json": b"{}"})
    folder = exported(store, tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", *DOCUMENTS
    }
    with pytest.raises(ConfigError, match="nothing to merge"):
        exported(store, tmp_path / "merged", merge=True)
    assert reference.weights_digest


def weights(store: LocalStore, files: dict[str, bytes]) -> ModelReference:
    """Make a folder of weights the champion of `mended`; without a check of their names, as an attacker could."""
    folder = Path(store.root).parent / "made"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        store.put(f"weights/key/made/{name}", data)
    digest = digest_folder(folder)
    reference = ModelReference(
        role="champion", student=STUDENT, base_digest="base", weights="weights/key/made", weights_digest=digest
    )
    ledger.append(store, LedgerEntry(
        model="mended", generation=1, previous=None, action="promote", target=reference, version="7", run_id="run-1",
        digests=Digests(weights=digest, base="base"), reason="passed", who="ann", created=ledger.now(),
    ))
    published(store, "run-1")
    return reference


@pytest.mark.parametrize(
    "name",
    ["modeling_own.py", "README.md", "readme.MD", "bom.cdx.json", "sub/model.safetensors", "weights.bin", ".bashrc"],
)
def test_a_file_that_no_weights_have_is_refused_by_its_name(store: LocalStore, tmp_path: Path, name: str) -> None:
    weights(store, {"config.json": b"{}", "model.safetensors": b"w", name: b"print()"})
    refused(store, tmp_path, "no part of a folder of weights")


def test_a_file_that_no_adapter_has_is_refused_by_its_name(
    store: LocalStore, champion: ModelReference, tmp_path: Path
) -> None:
    store.put(f"{champion.adapter}/tokenizer.py", b"print()")
    refused(store, tmp_path, "no part of an adapter")


def refused(store: LocalStore, tmp_path: Path, words: str) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(StoreError, match=words):
        exported(store, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == before, "nothing half-written stays"


@pytest.mark.parametrize("name", [*ADAPTER_FILES, CARD, MATERIALS])
def test_a_changed_byte_is_refused(
    store: LocalStore, champion: ModelReference, tmp_path: Path, name: str
) -> None:
    key = f"{champion.adapter}/{name}" if name in ADAPTER_FILES else f"reports/run-1/{name}"
    store.put(key, store.get(key)[:-1] + b"?")
    refused(store, tmp_path, "digest differs")


def test_another_student_is_refused(store: LocalStore, champion: ModelReference, tmp_path: Path) -> None:
    entry = ledger.newest(store, "mended")
    assert entry is not None
    target = champion.model_copy(update={"base_digest": "0" * 64})
    ledger.append(store, entry.model_copy(update={"generation": 2, "previous": 1, "target": target}))
    with pytest.raises(StageError, match="changed since"):
        exported(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_left_alone(store: LocalStore, champion: ModelReference, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        exported(store, tmp_path / "out")
    with pytest.raises(ConfigError, match="is a file"):
        exported(store, tmp_path / "file")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_what_is_signed_is_verified_and_needs_to_be_told_by_whom(
    cli: Callable[..., Any], store: LocalStore, champion: ModelReference, tmp_path: Path
) -> None:
    ours, other = Key(tmp_path, "ours"), Key(tmp_path, "other")
    seal = Seal(store, "mended", ours.settings())
    trained = champion.trained
    assert trained is not None
    ensure_signed(store, trained, subject("mended", "7"), ours.settings())
    seal.sign(1)
    assert exported(store, tmp_path / "out", seal=seal).is_dir()
    untold = cli("export", "mended", "--artifacts", store.root, "--out", tmp_path / "two")
    assert (untold.code, "it is not known whose signatures count" in untold.err) == (2, True)
    with pytest.raises(SignatureError):
        exported(store, tmp_path / "two", seal=Seal(store, "mended", other.settings()))
    store.delete(bundle_key(trained, subject("mended", "7")))
    with pytest.raises(ThinkSafeError, match="sign"):
        exported(store, tmp_path / "two", seal=seal)
    assert not (tmp_path / "two").exists()


def test_a_version_is_found_by_the_records_of_its_run(store: LocalStore, champion: ModelReference) -> None:
    made = champion.model_copy(update={"role": "candidate"})
    base = champion.model_copy(update={"role": "base", "adapter": "", "adapter_digest": ""})
    record(store, "run-2", "plan", details={"base": base.model_dump(mode="json")})
    record(store, "run-2", "train", details={"adapter": made.adapter, "adapter_digest": made.adapter_digest})
    registration = {"name": "mended", "version": "8", "candidate": made.digest}
    record(store, "run-2", "register", details={"registration": registration})
    found = find_release(store, "mended", "8")
    assert (found.reference, found.run_id, found.was_champion) == (made, "run-2", False)
    with pytest.raises(InputError, match="no version 9"):
        find_release(store, "mended", "9")
    record(store, "run-3", "register", details={"registration": registration | {"candidate": "other"}})
    with pytest.raises(StageError, match="run-2, run-3"):
        find_release(store, "mended", "8")


def test_the_command(
    cli: Callable[..., Any], store: LocalStore, champion: ModelReference, tmp_path: Path
) -> None:
    ended = cli("export", "mended", "--artifacts", store.root, "--out", tmp_path / "out", "--version", "7")
    assert ended.code == 0, ended.err
    assert ended.out == f"wrote {tmp_path / 'out'}: mended version 7, {champion.adapter_digest[:12]}\n"
    config = json.loads((tmp_path / "out" / ADAPTER_FILES[0]).read_text())
    assert config["base_model_name_or_path"] == STUDENT.model
    assert cli("export", "../mended", "--artifacts", store.root, "--out", tmp_path / "two").code == 2
    assert cli("export", "mended", "--artifacts", tmp_path / "none", "--out", tmp_path / "two").code == 2
    assert cli("export", "mended", "--artifacts", store.root, "--out", tmp_path / "two", "--version", "9").code == 2
    assert not (tmp_path / "two").exists()
