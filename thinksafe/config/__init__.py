"""The one file a user writes: loaded, validated, and cut into one section per stage."""

from __future__ import annotations

from thinksafe.config.load import load_config, recipe_names
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.sections import Sections, sections_of

__all__ = ["RealignmentConfig", "Sections", "load_config", "recipe_names", "sections_of"]
