"""What a run came to, for people: one HTML page, and a table for the terminal."""

from __future__ import annotations

from thinksafe.report.page import draw_pictures, render_page, without_timing
from thinksafe.report.terminal import Places, run_table

__all__ = ["Places", "draw_pictures", "render_page", "run_table", "without_timing"]
