"""``thinksafe config check``: is the configuration valid, and can its gate pass at all?"""

from __future__ import annotations

import typer

from thinksafe.config import load_config
from thinksafe.config.comparison import load_comparison
from thinksafe.deciding.feasibility import findings_on
from thinksafe.errors import EXIT_BAD_INPUT, EXIT_OK


def check_config(config: str, overrides: list[str]) -> int:
    """Print the findings on a configuration; return 0, or 2 if its gate cannot pass."""
    loaded = load_config(config, overrides)
    findings = findings_on(loaded)
    methods = load_comparison(config, overrides).methods if loaded.compare else {}
    typer.echo(f"{loaded.name}: the configuration is valid.")
    if methods:
        typer.echo(f"  {len(methods)} methods to compare: {', '.join(methods)}")
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        typer.echo(f"  {finding.level:8}{finding.check:{width}}  {finding.message}")
    return EXIT_BAD_INPUT if any(finding.level == "error" for finding in findings) else EXIT_OK
