"""What a student's tokenizer says of its form: the served prompt, the tags of its thoughts, what is prefilled."""

from __future__ import annotations

import re
from typing import Any, Literal

from thinksafe.errors import InputError
from thinksafe.traces import CLOSE, Tags

_NAMED = re.compile(r"(?i)think|thought|reason")
_TAG = re.compile(r"(?i)<\|?[\w:]*(?:think|thought|reason)[\w:]*\|?>|\[\w*(?:think|thought|reason)\w*\]")
_SIGN = re.compile(r"^(\W+)(?=\w)")
_START = re.compile(r"(?i)start|begin")


def render_prompt(tokenizer: Any, prompt: str) -> str:
    """Return the text of a single user turn up to where the model continues, as when the model is served."""
    turns = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def tags_of(tokenizer: Any, reasoning: Literal["think", "none"] = "think") -> Tags:
    """Return the tags around a student's thought: ``<think>``, or the pair of another family (``[THINK]``)."""
    found = _pairs(tokenizer) if reasoning == "think" else []
    return found[0] if len(found) == 1 else Tags()


def _pairs(tokenizer: Any) -> list[Tags]:
    """Return the pairs of tags that the template mentions or, without those, that are single tokens."""
    if _known(tokenizer, CLOSE):
        return [Tags()]
    template = str(tokenizer.get_chat_template())
    names = {*tokenizer.get_added_vocab(), *_TAG.findall(template)}
    pairs = sorted(
        (name, closing) for name in names if _NAMED.search(name) for closing in _closings(name)
        if _known(tokenizer, name) and _known(tokenizer, closing)
    )
    return [Tags(*pair) for pair in [pair for pair in pairs if pair[0] in template] or pairs]


def _closings(opening: str) -> list[str]:
    """Return what may close a tag: ``[/THINK]`` for ``[THINK]``, ``<|END_THINKING|>`` for ``<|START_THINKING|>``."""
    if _START.search(opening):
        return [_START.sub(lambda found: "END" if found.group().isupper() else "end", opening)]
    return [] if "/" in opening or not _SIGN.match(opening) else [_SIGN.sub(r"\1/", opening)]


def _known(tokenizer: Any, tag: str) -> bool:
    ids = tokenizer(tag, add_special_tokens=False)["input_ids"]
    return (len(ids) == 1 or tag in tokenizer.get_chat_template()) and tag in tokenizer.decode(
        ids, skip_special_tokens=False
    )


def prefilled(tokenizer: Any) -> str:
    """Return the opening think tag and white space that the template writes for the model (R1-Distill), else ""."""
    found = re.search(re.escape(tags_of(tokenizer).open) + r"\s*\Z", render_prompt(tokenizer, "x"))
    return found.group() if found else ""


def check_template(tokenizer: Any, reasoning: Literal["think", "none"], name: str) -> None:
    """Check that a tokenizer fits a student of this kind; errors refer to it by ``name``.

    A thinking student's template must mention think tags, or its vocabulary must contain them as single tokens.
    Otherwise the model never learned them, and no response would ever be complete.

    Raises:
        InputError: no chat template, one that cannot render a user turn, or one that contradicts ``reasoning``.
    """
    if not tokenizer.chat_template:
        raise InputError(
            f"The tokenizer of {name!r} has no chat template.", "Add the template that the model was tuned with."
        )
    try:
        before = render_prompt(tokenizer, "x").rstrip()
    except Exception as error:  # templates are programs: any error may come out
        raise InputError(
            f"The chat template of {name!r} cannot render a single user turn ({type(error).__name__}).",
            "Correct the template in the model's folder.",
        ) from error
    found = _pairs(tokenizer)
    if reasoning == "none":
        if any(before.endswith(tags.open) for tags in found or [Tags()]):
            raise InputError(
                f"The chat template of {name!r} opens a thought, but student.reasoning is none.",
                "Set student.reasoning: think.",
            )
        return
    if not found:
        raise InputError(
            f"The model {name!r} does not know {CLOSE}, nor other think tags: neither its chat template nor its "
            "vocabulary contains a pair.",
            "Set student.reasoning: none if it answers without a thought.",
        )
    if len(found) > 1:
        raise InputError(
            f"The tokenizer of {name!r} has several pairs of think tags: {', '.join(pair.open for pair in found)}.",
            "Mention only the one that the model writes in its chat template.",
        )
    if before.endswith(found[0].close):
        raise InputError(
            f"The chat template of {name!r} closes the thought before the model writes ({found[0].close}), but "
            "student.reasoning is think: no response would contain one.",
            "Set student.reasoning: none, or switch thinking on in the template of the model's folder.",
        )
