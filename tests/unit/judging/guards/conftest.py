"""Guards of the structure of Llama-Guard-3 and WildGuard in folders, and what builds them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_guards
from tiny_gated import (
    ANSWERS,
    LLAMA_CONTROL,
    MISTRAL_CONTROL,
    TEMPLATE,
    llama_model,
    llama_tokenizer,
    mistral_tokenizer,
    wildguard_model,
)

from thinksafe.judging.guards import open_guard
from thinksafe.records import Prompt


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llama-guard")
    llama_model(folder, llama_tokenizer(folder))
    return folder


@pytest.fixture(scope="session")
def mistral_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wildguard")
    return wildguard_model(folder, mistral_tokenizer(folder), ANSWERS[:3])


def as_prompt(text, label="harmful"):
    return Prompt(id="p", prompt=text, label=label, source="test")


@pytest.fixture(scope="session")
def tiny():
    """The builders above: test modules cannot import this file."""
    return SimpleNamespace(
        ANSWERS=ANSWERS, MISTRAL_CONTROL=MISTRAL_CONTROL, LLAMA_CONTROL=LLAMA_CONTROL, TEMPLATE=TEMPLATE,
        as_prompt=as_prompt, llama_tokenizer=llama_tokenizer, llama_model=llama_model,
        mistral_tokenizer=mistral_tokenizer, wildguard_model=wildguard_model,
    )


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("guards")
    return {
        (kind, verdict): tiny_guards.write_guard(kind, root / f"{kind}-{verdict}", verdict)
        for kind in tiny_guards.FAMILIES for verdict in ("safe", "unsafe") if not (root / f"{kind}-{verdict}").mkdir()
    }


@pytest.fixture(scope="session")
def guards(folders: dict[tuple[str, str], Path]) -> dict[str, Any]:
    return {kind: open_guard(tiny_guards.settings_for(kind, folders[kind, "unsafe"])) for kind in tiny_guards.FAMILIES}
