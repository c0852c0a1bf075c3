"""``thinksafe config check``: is the configuration valid, and can its gate pass at all?"""

from __future__ import annotations

import typer

from thinksafe.config import RealignmentConfig, load_config
from thinksafe.errors import EXIT_BAD_INPUT, EXIT_OK, ConfigError
from thinksafe.power import gate_feasibility


def check_config(config: str, overrides: list[str]) -> int:
    """Print the findings on a configuration; return 0, or 2 when its gate cannot pass."""
    loaded = load_config(config, overrides)
    findings = gate_feasibility(loaded)
    typer.echo(f"{loaded.name}: the configuration is valid.")
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        typer.echo(f"  {finding.level:8}{finding.check:{width}}  {finding.message}")
    return EXIT_BAD_INPUT if any(finding.level == "error" for finding in findings) else EXIT_OK


def refuse_hopeless_gate(config: RealignmentConfig) -> None:
    """Raise ConfigError when the gate could not pass even with perfect results."""
    errors = [f"{finding.check}: {finding.message}" for finding in gate_feasibility(config) if finding.level == "error"]
    if errors:
        raise ConfigError(
            "The gate of this configuration can never pass: " + " ".join(errors),
            "Give more evaluation prompts or another threshold; `thinksafe config check` shows the power.",
        )
