"""The endpoint engine: what it refuses before it asks a server, and responses put together from a server's fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from served_model import ServedModel, served_model

from thinksafe.config.model import EngineSettings
from thinksafe.errors import ConfigError, InputError
from thinksafe.models.references import ModelReference
from thinksafe.records import SamplingSettings
from thinksafe.sampling.engines import Generation, open_engine
from thinksafe.sampling.engines.endpoint import EndpointEngine, as_written
from thinksafe.settings import StudentSettings
from thinksafe.store.local import LocalStore
from thinksafe.traces import CLOSE, OPEN, Trace, split

PLAIN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda text: bool(text.strip()) and "<" not in text
)
FIELDS = st.sampled_from([
    ("reasoning_content",), ("reasoning",), ("reasoning_content", "reasoning"),
])
EMPTY = st.sampled_from([None, ""])


def test_an_endpoint_continues_no_thought() -> None:
    engine = EndpointEngine.__new__(EndpointEngine)  # no client: it must not get that far
    said = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "<think>\n"}]
    with pytest.raises(ConfigError, match="An endpoint cannot be made to continue a thought"):
        engine.generate([said], SamplingSettings(), 1, lambda _: None)


@pytest.fixture
def served() -> Iterator[ServedModel]:
    pytest.importorskip("openai", reason="thinksafe[endpoint] is not installed")
    with served_model() as model:
        model.adapters = {"student": "/models/student"}
        yield model


def asked(served: ServedModel, prompt: str = "How?") -> Generation:
    student = StudentSettings(model="student")
    settings = EngineSettings(kind="endpoint", base_url=f"{served.url}/v1")
    engine = open_engine(settings, ModelReference(role="base", student=student, base_digest="d"), LocalStore("unused"))
    [made] = engine.generate([[{"role": "user", "content": prompt}]], SamplingSettings(max_tokens=9), 1, lambda _: None)
    return made


@pytest.mark.parametrize("parser", [False, True])
@pytest.mark.parametrize(
    ("written", "trace"),
    [
        ("<think>a</think>b", Trace("a", "b", True)), ("<think>a", Trace("a", "", False)),
        ("a</think>b <think>", Trace("a", "b <think>", True)),
    ],
)
def test_responses_of_a_server(served: ServedModel, written: str, trace: Trace, parser: bool) -> None:
    served.reasoning_parser, served.respond = parser, lambda body: written
    made = asked(served)
    assert (split(made.response, "think"), made.finish) == (trace, "stop")


def test_a_request_that_the_server_refuses(served: ServedModel) -> None:
    served.failures = [400]
    with pytest.raises(InputError, match=r"refused a conversation of 6,000 characters \(HTTP 400\)") as raised:
        asked(served, "SECRET" * 1000)
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    ("message", "trace"),
    [
        # a parser hands thought and answer apart
        ({"content": "b", "reasoning_content": "a"}, Trace("a", "b", True)),
        ({"content": "b", "reasoning": "a"}, Trace("a", "b", True)),
        ({"content": "b", "reasoning_content": "a", "reasoning": "a"}, Trace("a", "b", True)),
        ({"content": "b", "reasoning_content": None, "reasoning": "a"}, Trace("a", "b", True)),
        ({"content": "b", "reasoning_content": "", "reasoning": "a"}, Trace("a", "b", True)),
        # the model did not close the thought, whatever the server says of the end
        ({"content": None, "reasoning_content": "a"}, Trace("a", "", False)),
        ({"content": "", "reasoning": "a"}, Trace("a", "", False)),
        ({"reasoning": "a"}, Trace("a", "", False)),
        ({"content": "\n\n", "reasoning": "a"}, Trace("a", "", True)),
        # no parser
        ({"content": "<think>a</think>b"}, Trace("a", "b", True)),
        ({"content": "<think>a</think>b", "reasoning": ""}, Trace("a", "b", True)),
        ({"content": "<think>a</think>b", "reasoning_content": None}, Trace("a", "b", True)),
        ({"content": "\n<think>a</think>b", "reasoning": ""}, Trace("a", "b", True)),
        ({"content": "<think>a"}, Trace("a", "", False)),
        ({"content": "a</think>b"}, Trace("a", "b", True)),
        ({"content": "a</think>b", "reasoning": ""}, Trace("a", "b", True)),
        ({"content": "b"}, Trace(None, "b", False)),
        ({"content": None}, Trace(None, "", False)),
        ({}, Trace(None, "", False)),
        # a thought that the content has, too
        ({"content": "<think>\na\n</think>\n\nb", "reasoning": "a"}, Trace("a", "b", True)),
        ({"content": "a</think>b", "reasoning_content": "a\n"}, Trace("a", "b", True)),
        ({"content": "<think>a", "reasoning": "a"}, Trace("a", "", False)),
        # tags that the answer mentions
        ({"content": "a</think>b <think> c"}, Trace("a", "b <think> c", True)),
        ({"content": "b <think>c</think> d", "reasoning": "a"}, Trace("a", "b <think>c</think> d", True)),
        ({"content": "say </think>", "reasoning": "a"}, Trace("a", "say </think>", True)),
    ],
)
def test_a_response_is_what_the_model_wrote(message: dict[str, Any], trace: Trace) -> None:
    text = as_written(message, thinks=True)
    assert split(text, "think") == trace
    if trace.complete:
        assert text.lstrip().startswith(OPEN), "training continues the tag that a template opens"


@pytest.mark.parametrize("message", [{"content": "a</think>b"}, {"content": "b"}, {"content": "<think>a</think>b"}])
def test_a_model_without_thoughts_gets_no_tag(message: dict[str, Any]) -> None:
    assert as_written(message, thinks=False) == message["content"]


@given(PLAIN, PLAIN, FIELDS)
def test_with_a_parser(thought: str, answer: str, fields: tuple[str, ...]) -> None:
    message = {"content": answer, **dict.fromkeys(fields, thought)}
    assert split(as_written(message, thinks=True), "think") == Trace(thought.strip(), answer.strip(), True)


@given(PLAIN, EMPTY, FIELDS)
def test_a_thought_alone_stays_open(thought: str, content: str | None, fields: tuple[str, ...]) -> None:
    message = {"content": content, **dict.fromkeys(fields, thought)}
    assert split(as_written(message, thinks=True), "think") == Trace(thought.strip(), "", False)


@given(PLAIN, PLAIN, FIELDS, EMPTY | st.just("same"), st.booleans())
def test_without_a_parser(
    thought: str, answer: str, fields: tuple[str, ...], beside: str | None, prefilled: bool
) -> None:
    """Whatever stands beside the content, the thought is there once."""
    content = f"{'' if prefilled else OPEN}{thought}{CLOSE}{answer}"
    message = {"content": content, **dict.fromkeys(fields, thought if beside == "same" else beside)}
    text = as_written(message, thinks=True)
    assert split(text, "think") == Trace(thought.strip(), answer.strip(), True)
    assert text.count(OPEN) == text.count(CLOSE) == 1


@pytest.mark.parametrize("name", ["content", "reasoning", "reasoning_content"])
@pytest.mark.parametrize("value", [["SECRET"], {"text": "SECRET"}, 5])
def test_a_field_that_is_no_text_is_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} is no text$"):
        as_written({"content": "x", name: value}, thinks=True)
