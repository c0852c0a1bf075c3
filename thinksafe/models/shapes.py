"""How large a model is, from its own files: parameters, those of an adapter, and the cache of a token.

Nothing is guessed: what the files do not say is None. Weights are counted in the headers of safetensors, or computed
from the configuration of an architecture of plain decoder layers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from thinksafe.config.memory import parameters_of
from thinksafe.errors import ThinkSafeError
from thinksafe.models.loading import local_source
from thinksafe.settings import StudentSettings

PLAIN = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Values of ``model_type`` whose layers all have attention with a whole cache and one gated MLP."""
BYTES = {"float32": 4, "bfloat16": 2}
"""Bytes of a number, by number format."""
TIMEOUT = 5.0
"""Time limit for an answer of the hub, in seconds."""
LONGEST_HEADER = 100 << 20
"""Bytes of the header of a safetensors file: the limit of the format."""


class _Config(BaseModel):
    """The parts of config.json that decide the sizes of a plain decoder."""

    model_config = ConfigDict(extra="ignore")

    model_type: str
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    num_key_value_heads: int = Field(default=0, ge=0)
    head_dim: int | None = None
    vocab_size: int = Field(gt=0)
    max_position_embeddings: int = 0
    tie_word_embeddings: bool = False


class ModelShape(NamedTuple):
    """The size of a model; None for what is unknown."""

    parameters: float | None
    said_by: str
    """Where the number of parameters is from: ``its weights``, ``its configuration`` or ``its name``."""
    positions: int | None
    """Tokens of prompt and response that it was made for."""
    cache: int | None
    """Numbers that the cache holds for a token: keys and values of all layers."""
    layers: int | None
    linear: dict[str, tuple[int, int]]
    """Inputs and outputs of the linear layers of a decoder layer, by name; empty if unknown."""

    def adapter(self, rank: int, modules: Iterable[str]) -> float | None:
        """Return the parameters of a LoRA adapter.

        Args:
            rank: Rank of its matrices.
            modules: Names of the linear layers.
        """
        sizes = [self.linear.get(name) for name in modules]
        if self.layers is None or not all(sizes):
            return None
        return float(self.layers * rank * sum(sum(size) for size in sizes if size))


UNKNOWN = ModelShape(None, "", None, None, None, {})


class Shapes:
    """Sizes of models, each looked up once. No weights are read; the hub is asked for a count and one small file.

    Args:
        hub: Ask the hub for models that are not here; after a first failure it is not asked again.
    """

    def __init__(self, *, hub: bool = True) -> None:
        self._found: dict[tuple[str, str], ModelShape] = {}
        self._hub = hub

    def of(self, model: StudentSettings) -> ModelShape:
        """Return the size of a model, of a folder or the hub."""
        key = model.model, model.revision
        if key not in self._found:
            self._found[key] = self._look_up(model)
        return self._found[key]

    def _look_up(self, model: StudentSettings) -> ModelShape:
        source, revision = _source(model)
        folder = Path(source)
        here = bool(source) and folder.is_dir()
        path, counted = (
            (folder / "config.json", _counted(folder)) if here else self._ask_hub(source, revision)
        )
        config = _config(path)
        computed, named = _computed(config) if config is not None else None, parameters_of(model.model) or None
        said = ((counted, "its weights"), (computed, "its configuration"), (named, "its name"))
        parameters, said_by = next(((number, by) for number, by in said if number), (None, ""))
        if config is None:
            return UNKNOWN._replace(parameters=parameters, said_by=said_by)
        heads = config.num_key_value_heads or config.num_attention_heads
        return ModelShape(
            parameters, said_by, config.max_position_embeddings or None,
            2 * config.num_hidden_layers * heads * _head(config), config.num_hidden_layers, _linear(config),
        )

    def _ask_hub(self, name: str, revision: str) -> tuple[Path | None, float | None]:
        """Return the configuration of a model of the hub, and the parameters that its files have by the hub's count."""
        if not name:
            return None, None
        from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json", revision=revision or None)
        if isinstance(found, str):
            return Path(found), None
        if not self._hub:
            return None, None
        try:
            info = HfApi().model_info(name, revision=revision or None, timeout=TIMEOUT, expand=["safetensors"])
            path = Path(hf_hub_download(name, "config.json", revision=revision or None))
        except Exception:  # the hub client raises errors of several HTTP libraries
            self._hub = False
            return None, None
        return path, float(info.safetensors.total) if info.safetensors else None


def _source(model: StudentSettings) -> tuple[str, str]:
    try:
        return local_source(model)
    except (ThinkSafeError, OSError):  # a place that cannot be reached from here
        return "", ""


def _config(path: Path | None) -> _Config | None:
    try:
        document: Any = json.loads(path.read_bytes()) if path is not None else None
        found = _Config.model_validate(document)
    except (OSError, ValueError, ValidationError, RecursionError):
        return None
    return found if found.model_type in PLAIN else None


def _counted(folder: Path) -> float | None:
    """Return the numbers in a folder's safetensors, by their headers."""
    total = 0
    try:
        for path in folder.glob("*.safetensors"):
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > LONGEST_HEADER:
                    return None
                tensors: dict[str, Any] = json.loads(file.read(length))
            total += sum(math.prod(of["shape"]) for name, of in tensors.items() if name != "__metadata__")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return float(total) or None


def _head(config: _Config) -> int:
    return config.head_dim or config.hidden_size // config.num_attention_heads


def _linear(config: _Config) -> dict[str, tuple[int, int]]:
    hidden, inner, size = config.hidden_size, config.intermediate_size, _head(config)
    queries, keys = config.num_attention_heads * size, (config.num_key_value_heads or config.num_attention_heads) * size
    return {
        "q_proj": (hidden, queries), "k_proj": (hidden, keys), "v_proj": (hidden, keys), "o_proj": (queries, hidden),
        "gate_proj": (hidden, inner), "up_proj": (hidden, inner), "down_proj": (inner, hidden),
    }


def _computed(config: _Config) -> float:
    layer = sum(inputs * outputs for inputs, outputs in _linear(config).values()) + 2 * config.hidden_size
    words = config.vocab_size * config.hidden_size * (1 if config.tie_word_embeddings else 2)
    return float(config.num_hidden_layers * layer + words + config.hidden_size)
