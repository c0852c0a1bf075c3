r"""Bring texts through Kubeflow Pipelines unchanged.

On its way to a stage the text of a parameter is part of an Argo workflow, of KFP's own placeholders and of a pod's
command: Argo and KFP fill in ``{{...}}`` wherever they see it (or refuse the workflow), Kubernetes fills in
``$(NAME)`` and makes one ``$`` of two. JSON has a second spelling for every character of a string, and outside of
strings it has neither sign, so texts are sent as JSON in which these signs are spelled ``\u007b`` and ``\u0024``;
whatever reads JSON or YAML has them back, and no stage needs to know.
"""

from __future__ import annotations

import json
import re

from thinksafe.errors import ConfigError

LONGEST = 100_000
"""Bytes of a configuration, as the JSON string that it becomes: Linux takes no argument of 131,072 bytes or more, and
an Argo workflow, which holds it more than once, no more than about a megabyte."""

_SIGNS = re.compile(r"\{(?=\{)|\$(?=[$(])")
# YAML 1.1 takes 1e-05 for a text, and 1.0e-05 for a number
_POWER = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![.\d])(\d+)(?=e)')
# line breaks of YAML, and what its readers take for no text
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def holds_placeholder(text: str) -> bool:
    """Return whether Argo, KFP or Kubernetes would put something else in the place of a part of a text."""
    return _SIGNS.search(text) is not None


def without_placeholders(text: str) -> str:
    """Return a text that is sent as it is. Raises ValueError where it would not arrive so."""
    if found := _SIGNS.search(text):
        sign = text[found.start():found.start() + 2]
        raise ValueError(f"holds {sign}, which Kubeflow Pipelines takes for a placeholder; write it without")
    return text


def escape_json(text: str) -> str:
    """Return JSON that has the same value and no placeholders.

    Args:
        text: JSON text.
    """
    return _SIGNS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape_document(text: str) -> str:
    """Return a configuration document that has the same value and no placeholders: itself if it has none, else JSON.

    Args:
        text: YAML text, path or recipe name; a path or name is returned as it is.

    Raises:
        ConfigError: not YAML, or it holds what JSON cannot say.
    """
    from thinksafe.config.document import read_yaml

    if not holds_placeholder(text):
        return text
    name = "the config document"
    value, _ = read_yaml(name, text)
    if not isinstance(value, dict):
        return text
    try:
        # dates as texts, which the configuration takes for dates again
        plain = json.dumps(value, default=_date, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} holds placeholders and a value that is not JSON: {error}.", "Correct it.") from error
    numbers = _POWER.sub(lambda found: f"{found[1]}.0" if found[1] else found[0], escape_json(plain))
    sent = _UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", numbers)
    try:
        arrived, _ = read_yaml(name, sent)
    except ConfigError:
        arrived = None
    if arrived != json.loads(plain):
        raise ConfigError(
            f"{name} holds {{{{ or $( and a key that cannot be sent beside it.", "Shorten keys to 1,000 characters."
        )
    return sent


def require_short(document: str, overrides: str) -> None:
    """Raise ConfigError where configuration and overrides are too long for a cluster; see :data:`LONGEST`."""
    size = sum(len(json.dumps(text, ensure_ascii=False).encode()) for text in (document, overrides))
    if size > LONGEST:
        raise ConfigError(
            f"The configuration has {size:,} bytes as Kubeflow Pipelines sends it; a pod's command takes no more than "
            f"{LONGEST:,}.",
            "Extend a shipped recipe instead of copying it, and give long lists as files in the store.",
        )


def _date(value: object) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"{type(value).__name__} is no JSON value")
