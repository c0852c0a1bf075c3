"""The one file that a user writes: load it, validate it, and split it into one section per stage."""

from __future__ import annotations

from thinksafe.config.load import load_config, load_suite, recipe_names
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.planning import sections_of, suite_sections
from thinksafe.config.sections import Sections, SuiteSections
from thinksafe.config.suite import SuiteConfig

__all__ = [
    "RealignmentConfig", "Sections", "SuiteConfig", "SuiteSections", "load_config", "load_suite", "recipe_names",
    "sections_of", "suite_sections",
]
