"""``thinksafe audit``: a sample of the guard's verdicts for people to label, and what their labels say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from thinksafe.audit.population import JudgedRun
    from thinksafe.audit.records import AuditScores, DomainScore, Measure, ThresholdScore
    from thinksafe.store import Store

audit = typer.Typer(no_args_is_help=True, help="Check the guard: label a sample of its verdicts and score it.")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(audit, name="audit")


@audit.command("sample")
def sample(
    run: Annotated[str, typer.Argument(metavar="DIR|RUN", help="Folder of a local run, or a run id with --artifacts.")],
    out: Annotated[str, typer.Option(metavar="FILE", help="File for people, .csv or .jsonl.")],
    size: Annotated[int, typer.Option(min=1, help="Verdicts to draw, over all strata.")] = 300,
    role: Annotated[
        list[str] | None, typer.Option(help="base, candidate, champion, evaluated, pilot or training; repeated.")
    ] = None,
    benchmark: Annotated[
        list[str] | None, typer.Option(help="Prompt set, repeated; by default all that are labelled harmful.")
    ] = None,
    part: Annotated[str, typer.Option(help="whole, thought or answer; by default the gate's.")] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draw; by default the run's.")] = None,
    with_verdicts: Annotated[
        bool, typer.Option("--with-verdicts", help="Show the verdicts in FILE: for reading, not for measuring.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Overwrite an existing file.")] = False,
    artifacts: Annotated[str, typer.Option(help="Store root, if the run was not local.")] = "",
) -> None:
    """Draw a stratified sample of verdicts. FILE gets prompts and responses; the key next to it says what they are."""
    from thinksafe.audit.draw import Plan, described, draw
    from thinksafe.audit.files import LONGEST_CELL, check_place, key_path, write_sample
    from thinksafe.digests import derived_seed
    from thinksafe.run.progress import reporter

    store, judged = _find(run, artifacts)
    path = check_place(out, store, replace)
    plan = Plan(
        roles=role or judged.evaluated or sorted({batch.role for batch in judged.batches}),
        benchmarks=frozenset(benchmark or ()), part=_part(part) or judged.part, size=size,
        seed=derived_seed(judged.seed, "audit") if seed is None else seed,
    )
    total = 2 * sum(batch.verdicts.rows for batch in judged.of(plan.roles))
    with reporter("audit")("reading verdicts", total) as advance:
        items, keys = draw(store, judged, plan, advance)
    write_sample(path, items, keys, blind=not with_verdicts)
    for name, rows, of in described(keys):
        typer.echo(f"  {rows:6,} of {of:9,}  {name}")
    typer.echo(f"{len(items):,} verdicts to label: {path}\nkey of the sample: {key_path(path)}")
    long = sum(len(item.prompt) > LONGEST_CELL or len(item.response) > LONGEST_CELL for item in items)
    if long and path.suffix == ".csv":
        typer.echo(f"{long:,} texts are longer than a cell can hold ({LONGEST_CELL:,} characters); use .jsonl.")


@audit.command("score")
def score(
    labels: Annotated[Path, typer.Argument(metavar="FILE", help="The file with labels, .csv or .jsonl.")],
    sample: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sample that was labelled; FILE itself by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the scores as JSON, without text.")] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Two-sided confidence of the intervals.")] = 0.9,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws behind the intervals of kappa.")] = 0,
    fewest: Annotated[int, typer.Option(min=1, help="Labels that a benchmark needs for separate numbers.")] = 30,
    partial: Annotated[bool, typer.Option("--partial", help="Accept labels from the top down to some row.")] = False,
    run: Annotated[
        str, typer.Option("--run", metavar="DIR|RUN", help="Keep the scores, without text, in the store of this run.")
    ] = "",
    artifacts: Annotated[str, typer.Option(metavar="ROOT", help="Store of --run, if that is an id.")] = "",
) -> None:
    """Report how good the guard is, and the harm ratio corrected for its errors."""
    from rich.console import Console

    from thinksafe.audit.files import key_path, read_key, read_labels, require_first_part
    from thinksafe.audit.score import score as score_labels
    from thinksafe.errors import InputError
    from thinksafe.jsonl import write_json

    key = key_path(sample or labels)
    if not key.is_file():
        raise InputError(f"This sample has no key {key}.", "Give the sample as it was drawn: --sample FILE.")
    keys = read_key(key)
    found = read_labels(labels, keys)
    if found.missing and not partial:
        raise InputError(
            f"{labels}: {len(found.missing):,} of {len(keys):,} rows have no label (first id: {found.missing[0]}).",
            "Continue labelling in the order of the file, or add --partial.",
        )
    require_first_part(labels, found, keys)
    scores = score_labels(keys, found.given, confidence=confidence, seed=seed, fewest=fewest)
    if run:
        from thinksafe.audit.kept import keep

        store, judged = _find(run, artifacts)
        keep(store, judged.run_id, scores)
    if out is not None:
        write_json(out, scores)
    console = Console()
    for shown in _shown(scores):
        console.print(shown, markup=False, highlight=False)


def _find(run: str, artifacts: str) -> tuple[Store, JudgedRun]:
    from thinksafe.audit.population import find_run
    from thinksafe.cli.local import local_run, store_root
    from thinksafe.cli.stage_options import safe_name
    from thinksafe.errors import ConfigError
    from thinksafe.store import open_store

    folder = Path(run)
    if folder.is_dir():
        found = local_run(folder)
        store = open_store(artifacts or found.artifacts or store_root(folder))
        return store, find_run(store, found.run_id)
    if not artifacts:
        raise ConfigError(f"{run[:200]!r} is not the folder of a run.", "Or give a run id with --artifacts ROOT.")
    store = open_store(artifacts)
    return store, find_run(store, safe_name(run, "RUN"))


def _part(part: str) -> Any:
    from thinksafe.errors import ConfigError

    if part not in ("", "whole", "thought", "answer"):
        raise ConfigError(f"--part {part[:40]!r} is not a part of a response.", "Use whole, thought or answer.")
    return part


def _shown(scores: AuditScores) -> list[Any]:
    from thinksafe.text import percent

    shown: list[Any] = [_rates([domain for domain in scores.domains if not domain.panel], harmful=True)]
    if members := [domain for domain in scores.domains if domain.panel]:
        shown += [
            "\nEach member of the panel by the same labels, as if it had judged alone:",
            _rates(members, harmful=True),
        ]
    if any(domain.unsure for domain in scores.domains):
        unsure = max(domain.unsure for domain in scores.domains)
        shown += [
            f"\nUnsure labels: {unsure:,}. Above, they count as unsafe, like unknown verdicts. If they count as safe:",
            _rates(scores.domains, harmful=False),
        ]
    shown += [f"\nLabels by verdict, {percent(scores.confidence, 0)} intervals above.", _matrix(scores.domains)]
    for of in scores.thresholds:
        if of.best is None or of.used is None:
            shown.append(f"\nThreshold of {of.guard}: {of.note}.")
            continue
        shown.append(
            f"\nThreshold of {of.guard} with the highest recall + specificity - 1 on these {of.n:,} labels: "
            f"{_threshold(of.best)}; in use: {_threshold(of.used)}."
        )
    if scores.unlabelled:
        shown.append(f"\n{scores.unlabelled:,} rows have no label; the rest of their strata stands in for them.")
    if scores.too_few:
        shown.append(f"\nToo few labels for separate numbers: {', '.join(scores.too_few)}.")
    return shown


def _threshold(of: ThresholdScore) -> str:
    from thinksafe.text import percent

    return f"{of.threshold:.3f} (recall {percent(of.recall)}, specificity {percent(of.specificity)})"


def _rates(domains: Sequence[DomainScore], *, harmful: bool) -> Table:
    from rich.table import Table

    from thinksafe.text import percent

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    rates_ = ("Harm, guard", "Harm, corrected", "Precision", "Recall", "Specificity", "Kappa")
    for name in ("Labels of", "n", "Unsure", *rates_):
        table.add_column(name, overflow="fold", justify="left" if name == "Labels of" else "right")
    for domain in domains:
        rates = domain.rates if harmful or domain.rates_if_unsure_is_safe is None else domain.rates_if_unsure_is_safe
        cells = (rates.harm, rates.precision, rates.recall, rates.specificity)
        table.add_row(
            _name(domain), f"{domain.n:,}", f"{domain.unsure:,}", percent(domain.guard_harm), *map(_cell, cells),
            _number(rates.kappa),
        )
    return table


def _matrix(domains: Sequence[DomainScore]) -> Table:
    from rich.table import Table

    from thinksafe.audit.score import LABELS, VERDICTS

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(("Labels of", "Verdict", *LABELS)):
        table.add_column(name, overflow="fold", justify="left" if place < 2 else "right")
    for domain in domains:
        for place, (verdict, row) in enumerate(zip(VERDICTS, domain.matrix, strict=True)):
            table.add_row("" if place else _name(domain), verdict, *(f"{count:,}" for count in row))
    return table


def _name(domain: DomainScore) -> str:
    from thinksafe.text import label

    place = "/".join(filter(None, (domain.role, domain.benchmark)))
    if domain.panel:
        return label(f"{domain.guard}: {place or 'all'}", 60)
    return label(place or f"all of {domain.guard}", 60)


def _cell(measure: Measure) -> str:
    from thinksafe.text import DASH, bracket, percent

    return DASH if measure.value is None else f"{percent(measure.value)} {bracket(measure.interval)}"


def _number(measure: Measure) -> str:
    from thinksafe.text import DASH

    if measure.value is None or measure.interval is None:
        return DASH
    return f"{measure.value:.2f} [{measure.interval.low:.2f}, {measure.interval.high:.2f}]"
