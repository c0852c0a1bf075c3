"""The prompt of a guard as its tokenizer's own chat template writes it.

The template is part of the model, and the verdicts are the model's only under it. A data file says which turns the
template gets and, where the text that comes out is published, what it must be: another one is refused.
"""

from __future__ import annotations

from typing import Any

from thinksafe.digests import digest_json
from thinksafe.errors import InputError
from thinksafe.judging.guards.rendering import Format, read_fields, split_template

Parts = tuple[str, str, str]
"""What stands before the prompt, between prompt and response, and after the response."""

_USE_PUBLISHED = "Use the tokenizer that the guard was published with."
_PROMPT, _RESPONSE, _EARLIER, _REPLY = (f"Qz{word}zQ" for word in ("prompt", "response", "earlier", "reply"))


def own_format(name: str, tokenizer: Any, policy: str = "") -> Format:
    """Return the format of the guard ``name`` with a tokenizer's own chat template.

    Args:
        name: Name of the guard's data file.
        tokenizer: The guard's tokenizer.
        policy: Text of the team's policy; empty for the one of the data file.

    Raises:
        InputError: the tokenizer has no chat template and none is published, or its template is not the published one.
    """
    fields, digest = read_fields(name)
    options = fields.get("policy_options" if policy else "options", {})
    policy = policy or fields.get("policy", "")
    published: Parts | None = None
    if "template" in fields:
        opening, between, closing = split_template(fields["template"])
        published = (_put(opening, policy), between, _put(closing, policy))
    before, again = fields["before_verdict"], fields.get("again", "")
    if tokenizer.chat_template:
        shown = _Shown(name, tokenizer, _put(options, policy), fields["turns"], policy)
        parts, strip, again = shown.parts, shown.strips(), again or shown.again()
        if published is not None:
            _require_published(name, parts, published)
    elif published is not None:
        parts, strip = published, False
    else:
        raise InputError(
            f"The tokenizer of the guard {name} has no chat template.", "Copy the whole model, or name its hub id."
        )
    opening, between, closing = parts
    if not closing.endswith(before):
        closing += before
    return Format(
        name, opening, between, again, closing, before, strip, tuple(fields["delimiters"]), tuple(fields["labels"]),
        digest_json([digest, opening, between, again, closing, strip]), begins=False,
    )


class _Shown:
    """What a chat template makes of a guard's turns."""

    def __init__(
        self, name: str, tokenizer: Any, options: dict[str, Any], turns: list[dict[str, str]], policy: str
    ) -> None:
        self._name, self._tokenizer, self._options = name, tokenizer, options
        self._turns, self._policy = turns, policy
        text = self._render(turns, _PROMPT, _RESPONSE)
        opening, _, rest = text.partition(_PROMPT)
        between, _, closing = rest.partition(_RESPONSE)
        if text.count(_PROMPT) != 1 or rest.count(_RESPONSE) != 1:
            raise InputError(
                f"The chat template of the guard {name} does not show a prompt and its response, once and in order.",
                _USE_PUBLISHED,
            )
        self.parts: Parts = (opening, between, closing)

    def strips(self) -> bool:
        """Return whether the template drops white space around texts."""
        return f" {_RESPONSE} " not in self._render(self._turns, f" {_PROMPT} ", f" {_RESPONSE} ")

    def again(self) -> str:
        """Return what stands between a response and the next prompt. Raises InputError if it depends on the place."""
        opening, between, closing = self.parts
        first = [{**turn, "content": mark} for turn, mark in zip(self._turns, (_EARLIER, _REPLY), strict=False)]
        text = self._render([*first, *self._turns], _PROMPT, _RESPONSE)
        again = text.partition(_REPLY)[2].partition(_PROMPT)[0]
        if text != f"{opening}{_EARLIER}{between}{_REPLY}{again}{_PROMPT}{between}{_RESPONSE}{closing}":
            raise InputError(
                f"The chat template of the guard {self._name} shows conversations in another way than exchanges.",
                _USE_PUBLISHED,
            )
        return again

    def _render(self, turns: list[dict[str, str]], prompt: str, response: str) -> str:
        said = [
            {**turn, "content": _put(turn["content"].replace("{prompt}", prompt).replace("{response}", response),
                                     self._policy)}
            for turn in turns
        ]
        render: Any = self._tokenizer.apply_chat_template
        try:
            return str(render(said, tokenize=False, add_generation_prompt=True, **self._options))
        except Exception as error:  # templates are programs and can raise any error
            raise InputError(
                f"The chat template of the guard {self._name} cannot render a conversation ({type(error).__name__}).",
                _USE_PUBLISHED,
            ) from error


def _require_published(name: str, found: Parts, published: Parts) -> None:
    if found != published:
        one, two = ("[...]".join(parts) for parts in (found, published))
        place = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
        raise InputError(
            f"The chat template is not the one that the guard {name} was published with: at character {place} it has "
            f"{one[place : place + 20]!r} in place of {two[place : place + 20]!r}.",
            _USE_PUBLISHED,
        )


def _put(value: Any, policy: str) -> Any:
    """Return a value with every ``{policy}`` in it replaced."""
    if isinstance(value, dict):
        return {key: _put(item, policy) for key, item in value.items()}
    return value.replace("{policy}", policy) if isinstance(value, str) else value
