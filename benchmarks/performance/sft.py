"""The train stage against TRL's SFTTrainer with its default, padded batches, on log-normal lengths."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.performance.result import Result, alternate, rate

ROWS, BATCH, REPEATS, SIGMA, MEDIAN, LONGEST = 256, 8, 3, 1.0, 60, 1024
WORDS = ("many", "plums", "does", "have", "gets", "more", "has", "near", "the")


def student(folder: Path) -> None:
    """Write a Qwen3 with random weights and the micro world's tokenizer: so large that the model dominates the time."""
    import shutil

    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from thinksafe.micro.students import student_path

    source = student_path("default")
    for path in source.iterdir():
        if path.name.startswith(("tokenizer", "chat_template", "generation")):
            shutil.copy(path, folder)
    torch.manual_seed(1)
    config = Qwen3Config.from_pretrained(source)
    config.update(
        {
            "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 2, "layer_types": None, "head_dim": 64,
            "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 2 * LONGEST,
        }
    )
    config.layer_types = ["full_attention"] * 2
    Qwen3ForCausalLM(config).save_pretrained(folder)


def measure(_model: Path) -> Result:
    """Compare trained tokens per second, prompts included, padding not counted."""
    import torch

    from thinksafe.config.model import TrainingSettings
    from thinksafe.config.sections import TrainSection
    from thinksafe.jsonl import write_json, write_records
    from thinksafe.methods.objectives import Sft
    from thinksafe.models.loading import load_model, load_tokenizer, render_prompt, resolve_student
    from thinksafe.models.references import ModelReference
    from thinksafe.records import Example
    from thinksafe.run.record import Progress, StageContext
    from thinksafe.settings import StudentSettings
    from thinksafe.stages import train
    from thinksafe.store import open_store

    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    torch.set_num_threads(1)
    draw = random.Random(1)
    words = [round(MEDIAN * draw.lognormvariate(0, SIGMA)) for _ in range(ROWS)]
    examples = [
        Example(
            id=f"e{place:03}", prompt="How many plums does Una have?", label="benign",
            response=" ".join(draw.choices(WORDS, k=min(LONGEST, max(4, count)))),
        )
        for place, count in enumerate(words)
    ]
    training = TrainingSettings(
        epochs=1, batch_size=BATCH, micro_batch_size=BATCH, threads=1, max_length=2 * LONGEST, lora_rank=8
    )
    section = TrainSection(seed=1, training=training, objective=Sft(), reasoning="none")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "student").mkdir()
        student(folder / "student")
        settings = StudentSettings(model=str(folder / "student"), dtype="float32", reasoning="none")
        base = ModelReference(role="base", student=settings, base_digest=resolve_student(settings).digest)
        write_json(folder / "base.json", base)
        write_records(folder / "examples.jsonl", examples)
        tokenizer: Any = load_tokenizer(base)
        store = open_store(str(folder / "none"))
        rows = []
        for example in examples:
            prompt = tokenizer(render_prompt(tokenizer, example.prompt))["input_ids"]
            response = [*tokenizer(example.response)["input_ids"], tokenizer.eos_token_id]
            rows.append((prompt + response, [-100] * len(prompt) + response))
        lengths = sorted(len(ids) for ids, _ in rows)
        processor: list[float] = []

        class Clocked(Progress):
            """Times the training: the stage without loading the model and writing the adapter."""

            def __enter__(self) -> Callable[[int], None]:
                self._start = time.process_time()
                return super().__enter__()

            def __exit__(self, *error: object) -> None:
                processor.append(time.process_time() - self._start)

        def ours() -> float:
            with tempfile.TemporaryDirectory() as root:
                context = StageContext(open_store(root), "bench", "train", "train", lambda *_: Clocked())
                result = train.run(
                    context, section, folder / "base.json", folder / "examples.jsonl",
                    trained_out=Path(root, "adapter"), candidate_out=Path(root, "candidate.json"),
                )
            if result.counts["tokens"] != sum(lengths):
                raise RuntimeError("the two sides would train on different tokens")
            return sum(lengths) / processor[-1]

        def reference() -> float:
            model = load_model(base, store)
            torch.set_num_threads(1)
            return rate(lambda: padded(model, tokenizer, rows, training), time.process_time)

        reference(), ours()  # warm-up
        pairs = alternate(ours, reference, REPEATS)
    mine, theirs = pairs.medians
    return Result(
        "sft", "trained tokens per second of the train stage, against TRL's padded default (higher is better).",
        "tokens/s", mine, theirs, pairs.ratio, pairs.interval, REPEATS, "≥ 1.5", pairs.ratio >= 1.5,
        n=f"{ROWS} rows of {lengths[0]} to {lengths[-1]} tokens (median {lengths[ROWS // 2]}), batches of {BATCH}",
        notes=(
            f"Log-normal lengths (sigma {SIGMA:g}); tokens are those of prompts and responses, never padding. A random "
            "Qwen3 of 2 layers and width 256, LoRA of rank 8, float32; both sides with the same rows, optimiser and "
            "batch size. Processor time on one thread, including the creation of the trainer, without "
            "loading the model."
        ),
    )


def padded(model: Any, tokenizer: Any, rows: list[tuple[list[int], list[int]]], training: Any) -> float:
    """Train once with TRL's own batches, which are random and padded; return the tokens."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers.trainer_callback import PrinterCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling, SFTTrainer

    with tempfile.TemporaryDirectory() as folder:
        trainer: Any = SFTTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder, per_device_train_batch_size=training.micro_batch_size, seed=1, use_cpu=True,
                num_train_epochs=training.epochs, learning_rate=training.learning_rate, report_to="none",
                save_strategy="no", bf16=False, gradient_checkpointing=False, disable_tqdm=True, max_length=None,
            ),
            train_dataset=Dataset.from_dict(
                {"input_ids": [ids for ids, _ in rows], "labels": [labels for _, labels in rows]}
            ),
            data_collator=DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id),
            processing_class=tokenizer,
            peft_config=LoraConfig(
                task_type="CAUSAL_LM", r=training.lora_rank, lora_alpha=training.lora_alpha,
                lora_dropout=training.lora_dropout, target_modules=list(training.target_modules),
            ),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return float(sum(len(ids) for ids, _ in rows))
