"""Run benchmarks, each in its own process, and write the results to a page and a JSON file."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from benchmarks.performance.page import machine, table, write
from benchmarks.performance.result import Result, SkippedError

NAMES = ("engine", "judge", "sft", "kl", "storage", "rows", "report", "fleet", "orchestration", "makespan", "estimate")
MARK = "RESULT "
SECONDS = 2400


def main() -> int:
    """Run the benchmarks that the command line names; return 1 if one failed (a missed target is a result)."""
    parser = argparse.ArgumentParser(prog="benchmarks.performance", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all by default: {', '.join(NAMES)}")
    parser.add_argument("--model", default="models/smollm2", help="folder of SmolLM2-135M, downloaded if missing")
    parser.add_argument("--page", type=Path, default=None, help="page to write the table into")
    parser.add_argument("--json", type=Path, default=None, help="file to write everything to")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"there is no benchmark {unknown[0]!r}")
    if options.child:
        found = measure(options.names[0], Path(options.model))
        sys.stdout.write(f"\n{MARK}{json.dumps(asdict(found))}\n")
        return 0
    facts, start = machine(), time.monotonic()
    results = [in_process(name, options.model) for name in options.names or NAMES]
    minutes = (time.monotonic() - start) / 60
    text = table(results, facts, minutes)
    sys.stdout.write(text)
    if options.page:
        write(options.page, text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        document = {"machine": facts, "minutes": round(minutes, 1), "results": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return int(any(result.status == "failed" for result in results))


def measure(name: str, model: Path) -> Result:
    """Run one benchmark here."""
    try:
        found: Result = importlib.import_module(f"benchmarks.performance.{name}").measure(model)
    except SkippedError as error:
        return Result(name, notes=f"{error}.", status="skipped")
    return found


def in_process(name: str, model: str) -> Result:
    """Run one benchmark in a fresh process, so that it does not inherit another one's threads or memory."""
    sys.stderr.write(f"{name} ...\n")
    command = [sys.executable, "-m", "benchmarks.performance", name, "--child", "--model", model]
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, check=False, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return Result(name, notes=f"not finished after {SECONDS} s.", status="failed")
        line = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), "")
        if not line:
            errors.seek(0)
            sys.stderr.write(errors.read()[-4000:])
            return Result(name, notes=f"exit code {done.returncode}.", status="failed")
    sys.stderr.write(f"  {time.monotonic() - start:.0f} s\n")
    return Result(**json.loads(line.removeprefix(MARK)))


if __name__ == "__main__":
    raise SystemExit(main())
