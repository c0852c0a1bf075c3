"""A stand-in for the ``thinksafe`` command: takes the stage options, checks its input files, writes its outputs.

It exists to test the wiring without models; the options are those of the stage CLI, and an unknown or missing one is
an error. Behaviour comes from the environment:

FAKE_CALLS     file that gets one JSON line for each call: stage and options
FAKE_ROLLOUT   makes promote say that something is rolled out
FAKE_REFUSE    stage (due, plan_evaluation, diagnose, curate, train, gate, monitor) that writes ``false``
FAKE_FAIL      task that fails with the error of the stage CLI and exit code 1
FAKE_KILL      task that kills itself
FAKE_HANG      task that sleeps for a minute after writing its process id to the file FAKE_PID
FAKE_EXECUTOR  stage that writes its output with thinksafe.kube.executor; in the others a few lines do, loading faster
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

COMMON = ["artifacts", "task", "executor-input"]
INPUTS = {
    "plan": [], "prepare": [], "due": ["contamination"],
    "sample": ["model", "prompts"], "judge": ["samples"], "grade": ["samples"],
    "diagnose": ["samples", "verdicts"], "curate": ["samples", "verdicts"],
    "train": ["base", "examples", "safety-context"],
    "register": ["candidate", "examples"], "metrics": ["samples", "verdicts", "grades"],
    "gate": [
        "base-metrics", "base-outcomes", "candidate-metrics", "candidate-outcomes", "champion-metrics",
        "champion-outcomes", "contamination", "registration",
    ],
    "promote": ["decision", "registration", "candidate", "champion"], "report": [], "plan_evaluation": [],
    "plan_comparison": [],
    "deploy": ["promotion", "prompts", "samples"], "monitor": [
        "model", "metrics", "outcomes", "samples", "verdicts", "grades", "previous-metrics", "previous-outcomes",
    ],
    "alarm": ["decision", "model"],
}
OUTPUTS = {
    "plan": ["plan-out", "base-out", "champion-out"],
    "prepare": ["pilot-out", "training-out", "evaluation-out", "contamination-out"],
    "due": ["passed-out"], "sample": ["samples-out"],
    "judge": ["verdicts-out"], "grade": ["grades-out"],
    "diagnose": ["diagnosis-out", "safety-context-out", "passed-out"],
    "curate": ["examples-out", "decision-out", "passed-out"],
    "train": ["trained-out", "candidate-out", "decision-out", "passed-out"], "register": ["registration-out"],
    "metrics": ["metrics-out", "outcomes-out"], "gate": ["decision-out", "passed-out"],
    "promote": ["promotion-out", "passed-out"], "deploy": ["rollout-out"], "report": ["report-out"],
    "plan_evaluation": ["plan-out", "model-out", "previous-out", "passed-out"],
    "plan_comparison": ["plan-out", "base-out", "champion-out", "registration-out"],
    "monitor": ["decision-out", "passed-out"], "alarm": [],
}
VALUES = {
    "plan": ["config", "overrides", "author", "job-id", "run-id", "rounds"], "due": ["plan", "if-changed"],
    "sample": ["plan", "section", "method"], "judge": ["plan", "section", "method"],
    **{stage: ["plan", "method"] for stage in ("grade", "diagnose", "curate", "train", "gate")},
    "plan_comparison": ["config", "overrides", "shared", "job-id", "run-id"],
    "plan_evaluation": ["suite", "overrides", "model", "fresh", "if-champion", "job-id", "run-id"],
    "metrics": ["plan", "role", "method"], "report": ["status", "job-id", "run-id"],
}


def parse(arguments):
    stage = arguments[0]
    parser = argparse.ArgumentParser(prog=f"thinksafe {stage}", allow_abbrev=False)
    for name in [*COMMON, *INPUTS[stage], *OUTPUTS[stage], *VALUES.get(stage, ["plan"])]:
        parser.add_argument(f"--{name}", required=True)
    return stage, {name.replace("_", "-"): value for name, value in vars(parser.parse_args(arguments[1:])).items()}


def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def finish(stage, options, metadata):
    if os.environ.get("FAKE_EXECUTOR") == stage:
        from thinksafe.kube.executor import write_executor_output

        write_executor_output(options["executor-input"], metadata)
        return
    outputs = json.loads(options["executor-input"])["outputs"]
    artifacts = {
        name: {
            "artifacts": [
                {"name": item["name"], "uri": item["uri"], "metadata": metadata.get(name, {})}
                for item in entry["artifacts"]
            ]
        }
        for name, entry in outputs.get("artifacts", {}).items()
    }
    write(outputs["outputFile"], json.dumps({"artifacts": artifacts}))


def main():
    stage, options = parse(sys.argv[1:])
    task = options["task"] + (f".{options['method']}" if options.get("method") else "")
    with open(os.environ["FAKE_CALLS"], "a") as stream:
        stream.write(json.dumps({"stage": stage, **options, "task": task}) + "\n")
    read = [Path(options[name]) for name in INPUTS[stage]]
    for path in read:
        if not path.read_text():
            raise SystemExit(f"error: {path} is empty.\n  Write it again.")
    print(f"{task} starts")
    if progress := os.environ.get("THINKSAFE_PROGRESS"):
        with open(progress, "a") as stream:
            stream.write(json.dumps({"task": task, "label": "rows", "done": 1, "total": 2, "reused": 0}) + "\n")
    if os.environ.get("FAKE_HANG") == task:
        Path(os.environ["FAKE_PID"]).write_text(str(os.getpid()))
        time.sleep(60)
    if os.environ.get("FAKE_KILL") == task:
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("FAKE_FAIL") == task:
        print(f"error: The disk of {task} is full.\n  Free some space.", file=sys.stderr)
        raise SystemExit(1)
    if stage == "alarm":
        finish(stage, options, {})
        print("error: Alarm: it got worse.\n  Look at the report.", file=sys.stderr)
        raise SystemExit(3)
    for name in OUTPUTS[stage]:
        if name == "trained-out":
            write(Path(options[name]) / "adapter.safetensors", task)
        elif name == "passed-out":
            no = not os.environ.get("FAKE_ROLLOUT") if stage == "promote" else os.environ.get("FAKE_REFUSE") == stage
            write(options[name], "false" if no else "true")
        else:
            # what a file was made from, so that a test can follow it
            write(options[name], json.dumps([task, *(json.loads(path.read_text()) for path in read)]))
    finish(stage, options, {"metrics": {"harm": 0.5}} if stage == "metrics" else {})


main()
