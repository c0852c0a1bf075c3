"""``thinksafe history``: a registered model's versions and generations, on the terminal and as a page."""

from __future__ import annotations

from pathlib import Path


def show_history(artifacts: str, model: str, html: Path | None) -> None:
    """Print the table, and write the page if ``html`` names a file.

    Raises:
        ConfigError: the name cannot be that of a registered model.
        InputError: the store knows no version of the model.
        StoreError: the ledger is malformed, or the store failed.
    """
    from rich.console import Console

    from thinksafe.errors import InputError
    from thinksafe.jsonl import write_atomic
    from thinksafe.report.model_history import history_table, render_history
    from thinksafe.report.timeline import timeline
    from thinksafe.store import open_store

    store = open_store(artifacts)
    found = timeline(store, model)
    if not found:
        raise InputError(
            f"{store.root} has no version of {model!r}.", "Check the name (registry.model) and the store."
        )
    Console().print(history_table(found))
    if html is not None:
        write_atomic(html, render_history(model, found).encode())
        Console().print(f"wrote {html}", markup=False, highlight=False)
