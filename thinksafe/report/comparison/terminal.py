"""The end of ``thinksafe compare``, as rich renderables."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from thinksafe.report.comparison import tables
from thinksafe.report.comparison.model import ComparisonSummary
from thinksafe.report.terminal import TONES, Places, plain, plain_table
from thinksafe.text import clean, count, duration


def comparison_table(summary: ComparisonSummary, places: Places) -> Group:
    """Return what the terminal shows at the end of a comparison."""
    verdict = tables.title(summary)
    parts: list[Table | Text] = [
        Text(""), Text(f"{verdict.symbol} {verdict.title}", style=f"bold {TONES[verdict.tone]}"),
        plain(f"{tables.summary_sentence(summary)} {tables.cheapest_sentence(summary)}".strip()),
    ]
    parts += [plain(f"{of.name}: {of.why}") for of in summary.result.methods if not of.passed]
    parts += [plain(problem) for problem in summary.problems[:10]]
    of = tables.methods(summary)
    table = plain_table(*of.heads, *of.columns)
    for row in of.rows:
        table.add_row(*map(plain, row.names), *(plain(f"{cell.text} {cell.note}".strip()) for cell in row.cells))
    work = plain_table("Method")
    for name in ("Responses", "Tokens sampled", "Tokens trained", "Time"):
        work.add_column(name, justify="right")
    for one in summary.result.methods:
        cells = (one.work.responses, one.work.tokens_sampled, one.work.tokens_trained)
        work.add_row(
            plain(one.name), *(plain(count(cell)) for cell in cells),
            plain(duration(summary.costs.methods[one.name].seconds)),
        )
    end = Table.grid(padding=(0, 2))
    for key, value in {
        "Run": summary.run_id, "Report": places.report, "MLflow": places.tracking,
        "Realign": tables.command(summary),
    }.items():
        if value:
            end.add_row(plain(key, "dim"), Text(clean(str(value), 4000), overflow="fold"))
    shown: list[Table | Text] = [Text(""), table, Text(""), work] if summary.result.methods else []
    return Group(*parts, *shown, Text(""), end)
