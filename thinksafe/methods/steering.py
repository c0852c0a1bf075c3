"""Refusal steering: an instruction in front of a harmful prompt while sampling, which is never stored.

The instruction only shifts the odds of safe against unsafe responses. Within the safe set it leaves the relative
probabilities unchanged ("refusal tilt", arXiv:2601.23143), so the samples can be trained on without it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import AfterValidator

from thinksafe.errors import ConfigError
from thinksafe.settings import Name

PLACE = "{prompt}"
_FOLDER = resources.files("thinksafe") / "data" / "steering"
STRONGER = ("prefix", "suffix", "both")
"""Templates of retries, the weakest first."""


@cache
def steering_names() -> tuple[str, ...]:
    """Return the names of the shipped templates, sorted."""
    files = (item.name for item in _FOLDER.iterdir() if item.name.endswith(".yaml"))
    return tuple(sorted(name.removesuffix(".yaml") for name in files))


@cache
def steering_template(name: str) -> str:
    """Return the shipped template called ``name``, which contains ``{prompt}`` once.

    Raises:
        ConfigError: there is no such template.
    """
    import yaml

    if name not in steering_names():
        raise ConfigError(f"There is no steering template {name!r}.", f"Use one of: {', '.join(steering_names())}.")
    text = yaml.safe_load((_FOLDER / f"{name}.yaml").read_text("utf-8"))["template"]
    if not isinstance(text, str) or text.count(PLACE) != 1:
        raise ConfigError(f"The steering template {name!r} must contain {PLACE} exactly once.", "Correct the file.")
    return text


def stronger(template: str, retries: int) -> tuple[str, ...]:
    """Return the templates of the retries of a prompt, each at least as strong as the one before.

    Args:
        template: Template of the first try.
        retries: How many there are.
    """
    after = STRONGER[STRONGER.index(template) + 1 :] if template in STRONGER else STRONGER
    return (*after[:retries], *STRONGER[-1:] * (retries - len(after)))


def steer(prompt: str, template: str) -> str:
    """Return the user turn that asks to refuse ``prompt``; braces inside the prompt are plain text."""
    before, after = template.split(PLACE)
    return f"{before}{prompt}{after}"


def _shipped(template: str) -> str:
    try:
        steering_template(template)
    except ConfigError as error:
        raise ValueError(str(error).rstrip(".")) from error
    return template


Steering = Annotated[Name, AfterValidator(_shipped)]
"""Name of a shipped template, as an option of a method."""
