from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from thinksafe.errors import InputError, StageError
from thinksafe.models.loading import end_tokens, load_model, load_tokenizer, local_source, resolve_student
from thinksafe.models.references import ModelReference
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore

Students = Callable[[str], Path]


def reference(folder: Path | str, **changes: Any) -> ModelReference:
    student = StudentSettings(model=str(folder), **{"dtype": "float32", **changes})
    resolved = resolve_student(student)
    pinned = student.model_copy(update={"revision": resolved.revision})
    return ModelReference(role="base", student=pinned, base_digest=resolved.digest)


@pytest.fixture
def qwen(student_folder: Students, tmp_path: Path) -> Path:
    """Return a copy that may be damaged."""
    return Path(shutil.copytree(student_folder("qwen"), tmp_path / "student"))


def refused(folder: Path | str, **settings: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        resolve_student(StudentSettings(model=str(folder), **settings))
    return caught.value


# -- resolving


def test_a_folder_is_known_by_what_is_loaded_from_it_and_not_by_its_place(qwen: Path, tmp_path: Path) -> None:
    resolved = resolve_student(StudentSettings(model=str(qwen)))
    copy = shutil.copytree(qwen, tmp_path / "copy")
    (copy / "README").write_text("notes")

    assert (resolved.path_or_id, resolved.revision) == (str(qwen), "")
    assert resolve_student(StudentSettings(model=str(copy))).digest == resolved.digest


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"]
)
def test_a_change_to_any_loaded_file_changes_the_digest(qwen: Path, name: str) -> None:
    before = resolve_student(StudentSettings(model=str(qwen))).digest
    with (qwen / name).open("ab") as stream:
        stream.write(b" ")
    assert resolve_student(StudentSettings(model=str(qwen))).digest != before


def test_a_shipped_student_resolves_to_its_folder() -> None:
    resolved = resolve_student(StudentSettings(model="micro://default"))
    assert Path(resolved.path_or_id, "model.safetensors").is_file()
    assert local_source(StudentSettings(model="micro://default")) == (resolved.path_or_id, "")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("micro://nobody", "nobody"),
        ("./missing", "does not exist"),
        ("/missing/folder/of/models", "does not exist"),
        ("two/levels/too-many", "does not exist"),
        ("ftp://host/model", "not supported"),
    ],
)
def test_what_cannot_be_a_student_is_refused_by_name(model: str, words: str) -> None:
    error = refused(model)
    assert words in error.problem
    assert "student.model" in error.problem


def test_a_file_is_not_a_student(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert "is a file" in refused(tmp_path / "model.safetensors").problem


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no weights"),
        ("tokenizer.json", "no tokenizer"),
    ],
)
def test_an_incomplete_folder_is_refused(qwen: Path, missing: str, words: str) -> None:
    (qwen / missing).unlink()
    error = refused(qwen)
    assert words in error.problem
    assert str(qwen) in error.problem


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.pt"])
def test_pickled_weights_are_refused_with_the_way_to_convert_them(qwen: Path, name: str) -> None:
    (qwen / "model.safetensors").rename(qwen / name)
    error = refused(qwen)
    assert "pickle" in error.problem
    assert "save_pretrained" in error.action


# -- the hub


COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Answers for one model on the hub, whose files are ``files``."""

    files: tuple[str, ...] = ()

    def do_GET(self) -> None:
        known = self.path.startswith("/api/models/team/student")
        if known and "/revision/gone" in self.path:
            self.send_response(404)
            self.send_header("X-Error-Code", "RevisionNotFound")
            body = b"{}"
        elif not known:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            body = b"{}"
        else:
            self.send_response(200)
            siblings = [{"rfilename": name} for name in self.files]
            body = json.dumps({"id": "team/student", "sha": COMMIT, "siblings": siblings}).encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    class Handler(Hub):
        files = ("config.json", "model.safetensors", "tokenizer.json")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    yield Handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("revision", ["", "main"])
def test_a_branch_is_resolved_to_its_commit(hub: type[Hub], revision: str) -> None:
    resolved = resolve_student(StudentSettings(model="team/student", revision=revision))
    assert (resolved.path_or_id, resolved.revision) == ("team/student", COMMIT)
    assert resolved.digest == f"team/student@{COMMIT}"


def test_a_hub_model_with_pickled_weights_only_is_refused(hub: type[Hub]) -> None:
    hub.files = ("config.json", "pytorch_model.bin", "tokenizer.json")
    assert "pickle" in refused("team/student").problem


def test_unknown_models_and_revisions_are_named(hub: type[Hub]) -> None:
    assert "team/nobody" in refused("team/nobody").problem
    assert "student.revision" in refused("team/student", revision="gone").action


def test_a_commit_needs_no_network_and_a_branch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve_student(StudentSettings(model="team/student", revision=COMMIT)).revision == COMMIT

    error = refused("team/student", revision="main")
    assert "cannot be reached" in error.problem
    assert "HF_HUB_OFFLINE" in error.action


# -- loading


def test_a_model_is_loaded_for_inference_with_its_own_weights(student_folder: Students, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = student_folder("qwen")
    model = load_model(reference(folder), LocalStore(tmp_path))
    stored = load_file(folder / "model.safetensors")

    assert not model.training
    assert model.dtype == torch.float32
    weights = model.state_dict()
    assert all(torch.equal(weights[name].cpu(), tensor) for name, tensor in stored.items())


def test_a_student_that_changed_after_planning_is_refused(qwen: Path, tmp_path: Path) -> None:
    planned = reference(qwen)
    (qwen / "chat_template.jinja").write_text("other")
    with pytest.raises(StageError, match="changed since"):
        load_model(planned, LocalStore(tmp_path))


def test_weights_that_a_checkpoint_lacks_are_not_made_up(qwen: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(qwen / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, qwen / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="lack 1 tensors") as caught:
        load_model(reference(qwen), LocalStore(tmp_path))
    assert "up_proj" in caught.value.problem


def test_pickled_weights_beside_an_unreadable_safetensors_file_are_not_loaded(qwen: Path, tmp_path: Path) -> None:
    (qwen / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch /dev/null'\ntR.")
    (qwen / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(reference(qwen), LocalStore(tmp_path))


def test_a_model_with_its_own_code_is_refused_and_its_code_not_run(qwen: Path, tmp_path: Path) -> None:
    trace = tmp_path / "ran"
    (qwen / "modeling_own.py").write_text(f"open({str(trace)!r}, 'w')\nclass Own: pass\n")
    config = json.loads((qwen / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "modeling_own.Own"}}
    (qwen / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as caught:
        load_model(reference(qwen), LocalStore(tmp_path))
    assert not trace.exists()
    assert str(qwen) in caught.value.problem
    assert "student.trust_remote_code" in caught.value.action


def test_bfloat16_is_used_only_where_the_processor_has_it(
    student_folder: Students, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    planned = reference(student_folder("qwen"), dtype="bfloat16")
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True})
    with pytest.warns(UserWarning, match="no bfloat16 units"):
        assert load_model(planned, LocalStore(tmp_path)).dtype == torch.float32
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    assert load_model(planned, LocalStore(tmp_path)).dtype == torch.bfloat16


# -- tokens


def test_every_token_that_ends_a_turn_counts(student_folder: Students, tmp_path: Path) -> None:
    base = reference(student_folder("llama"))
    tokenizer, model = load_tokenizer(base), load_model(base, LocalStore(tmp_path))
    names = {tokenizer.convert_ids_to_tokens(token) for token in end_tokens(model, tokenizer, "m")}
    assert names == {"<|end_of_text|>", "<|eot_id|>"}

    model.generation_config.eos_token_id, tokenizer.eos_token = None, None
    with pytest.raises(InputError, match="no end-of-sequence token"):
        end_tokens(model, tokenizer, "m")
