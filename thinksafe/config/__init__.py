"""The one file a user writes: loaded, validated, and cut into one section per stage."""

from __future__ import annotations

from thinksafe.config.cut import sections_of
from thinksafe.config.load import load_config, load_suite, recipe_names
from thinksafe.config.model import RealignmentConfig
from thinksafe.config.sections import Sections
from thinksafe.config.suite import SuiteConfig
from thinksafe.config.suite_sections import SuiteSections, suite_sections

__all__ = [
    "RealignmentConfig", "Sections", "SuiteConfig", "SuiteSections", "load_config", "load_suite", "recipe_names",
    "sections_of", "suite_sections",
]
