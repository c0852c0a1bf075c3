r"""Pass texts through Kubeflow Pipelines unchanged.

On its way to a stage, a parameter becomes part of an Argo workflow, of KFP's placeholders and of a pod's command. Argo
and KFP replace ``{{...}}`` wherever they see it (or refuse the workflow); Kubernetes replaces ``$(NAME)`` and turns
``$$`` into ``$``. Texts are therefore sent as JSON with these characters escaped as ``\u007b`` and ``\u0024``: JSON has
them only inside strings. Any reader of JSON or YAML restores them, so no stage needs to know.
"""

from __future__ import annotations

import json
import re

from thinksafe.errors import ConfigError

LONGEST = 100_000
"""Maximum size in bytes of a configuration as a JSON string: Linux limits an argument to less than 131,072 bytes, and
an Argo workflow, which contains the configuration more than once, to about a megabyte."""

_SIGNS = re.compile(r"\{(?=\{)|\$(?=[$(])")
# YAML 1.1 reads 1e-05 as text and 1.0e-05 as a number
_POWER = re.compile(r'"(?:[^"\\]|\\.)*"|(?<![.\d])(\d+)(?=e)')
# line breaks of YAML, and characters that its readers refuse
_UNPRINTED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def holds_placeholder(text: str) -> bool:
    """Return whether Argo, KFP or Kubernetes would replace part of a text."""
    return _SIGNS.search(text) is not None


def without_placeholders(text: str) -> str:
    """Return a text that is sent unchanged. Raises ValueError if it would not arrive unchanged."""
    if found := _SIGNS.search(text):
        sign = text[found.start():found.start() + 2]
        raise ValueError(f"contains {sign}, which Kubeflow Pipelines treats as a placeholder; remove it")
    return text


def escape_json(text: str) -> str:
    """Return JSON with the same value and no placeholders.

    Args:
        text: JSON text.
    """
    return _SIGNS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape_document(text: str) -> str:
    """Return a configuration document with the same value and no placeholders: itself if it has none, otherwise JSON.

    Args:
        text: YAML text, path or recipe name; a path or name is returned as it is.

    Raises:
        ConfigError: It is not YAML, or contains what JSON cannot express.
    """
    from thinksafe.config.document import read_yaml

    if not holds_placeholder(text):
        return text
    name = "the config document"
    value, _ = read_yaml(name, text)
    if not isinstance(value, dict):
        return text
    try:
        # dates become texts, which the configuration reads as dates again
        plain = json.dumps(value, default=_date, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} has placeholders and a value that is not JSON: {error}.", "Correct it.") from error
    numbers = _POWER.sub(lambda found: f"{found[1]}.0" if found[1] else found[0], escape_json(plain))
    sent = _UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", numbers)
    try:
        arrived, _ = read_yaml(name, sent)
    except ConfigError:
        arrived = None
    if arrived != json.loads(plain):
        raise ConfigError(
            f"{name} contains {{{{ or $( and a key that is too long.", "Shorten keys to 1,000 characters."
        )
    return sent


def require_short(document: str, overrides: str) -> None:
    """Raise ConfigError if configuration and overrides are too long for a cluster; see :data:`LONGEST`."""
    size = sum(len(json.dumps(text, ensure_ascii=False).encode()) for text in (document, overrides))
    if size > LONGEST:
        raise ConfigError(
            f"The configuration has {size:,} bytes as Kubeflow Pipelines sends it; the maximum for a pod's command is "
            f"{LONGEST:,}.",
            "Extend a shipped recipe instead of copying it, and put long lists into files in the store.",
        )


def _date(value: object) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"{type(value).__name__} is not a JSON value")
