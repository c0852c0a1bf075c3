"""Grade responses with lm-eval's own filters and metrics; runs in an environment of its own, with files only.

    python lm_eval_grades.py RESPONSES.jsonl GRADES.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lm_eval
import lm_eval.filters
import yaml
from lm_eval.api.metrics import exact_match_fn
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.tasks.aime import utils as aime
from lm_eval.tasks.hendrycks_math import utils as hendrycks
from lm_eval.tasks.minerva_math import utils as minerva

TASKS = Path(lm_eval.__file__).parent / "tasks"


class _Loader(yaml.SafeLoader):
    """YAML in which ``!function`` is a text."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def filtered(task: str, text: str, doc: dict[str, Any], reference: str) -> dict[str, bool]:
    """Return exact match under each filter of a task, as the task's file sets filter and metric."""
    config = yaml.load((TASKS / task).read_text("utf-8"), Loader=_Loader)
    (metric,) = config["metric_list"]
    options = {key: metric[key] for key in ("ignore_case", "ignore_punctuation", "regexes_to_ignore") if key in metric}
    found = {}
    for item in config["filter_list"]:
        steps = [[step["function"], {k: v for k, v in step.items() if k != "function"}] for step in item["filter"]]
        ensemble = lm_eval.filters.build_filter_ensemble(item["name"], steps)
        kept = [[text]]
        for make in ensemble.filters:
            kept = list(make().apply(kept, [doc]))
        score = exact_match_fn(predictions=[kept[0]], references=[reference], **options)["exact_match"]
        found[item["name"]] = bool(score)
    return found


def grades(row: dict[str, Any]) -> dict[str, bool]:
    """Return what each of lm-eval's measures says of one response."""
    text = postprocess_generated_text(row["response"], None, "</think>")
    reference = row["reference"]
    if row["family"] == "choice":
        doc = {"choices": ["the first text", "the second text", "the third text", "the fourth text"]}
        return filtered("gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", text, doc, f"({reference})")
    doc = {"solution": f"$\\boxed{{{reference}}}$", "answer": minerva.normalize_final_answer(reference)}
    found = {f"minerva_{name}": bool(value) for name, value in minerva.process_results(doc, [text]).items()}
    found["hendrycks_exact_match"] = bool(hendrycks.process_results(doc, [text])["exact_match"])
    found["aime_exact_match"] = bool(aime.process_results({"answer": reference}, [text])["exact_match"])
    if row["family"] == "number":
        found |= filtered("gsm8k/gsm8k.yaml", text, {}, reference)
    return found


def main(source: str, target: str) -> None:
    """Grade a file of responses."""
    with Path(source).open(encoding="utf-8") as lines, Path(target).open("w", encoding="utf-8") as out:
        for line in lines:
            row = json.loads(line)
            out.write(json.dumps({"id": row["id"], "grades": grades(row)}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
