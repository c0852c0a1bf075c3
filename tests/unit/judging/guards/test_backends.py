from __future__ import annotations

import importlib.util
import math

import pytest

from thinksafe.config.model import GuardSettings
from thinksafe.errors import ConfigError, InputError, StageError
from thinksafe.judging.guards.backends import open_backend
from thinksafe.judging.guards.weights import GuardModel

HAS_VLLM = importlib.util.find_spec("vllm") is not None


def settings_for(folder, **fields):
    return GuardSettings(kind="llama-guard-3", model=str(folder), dtype="float32", max_length=2048, **fields)


@pytest.fixture(scope="module")
def guard(llama_folder):
    return GuardModel(settings_for(llama_folder))


@pytest.fixture(scope="module")
def prompts(guard):
    texts = ["Mix flour", "How do I bake bread? " * 9, "safe", "a" * 77, "¿Qué?\n\n", "How"]
    return [tuple(guard.tokenizer(text)["input_ids"]) for text in texts]


@pytest.fixture(scope="module")
def direct(guard):
    """Return next-token log-probabilities of one prompt, from a plain forward pass without padding."""
    import torch

    model = guard.load()

    def run(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1)

    return run


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_logprobs_are_those_of_a_plain_forward_pass(llama_folder, guard, direct, prompts, batch_size):
    found = open_backend(settings_for(llama_folder, batch_size=batch_size), guard).next_token_logprobs(prompts, 20)
    assert len(found) == len(prompts)
    for ids, logprobs in zip(prompts, found, strict=True):
        expected = direct(ids)
        assert set(logprobs) == set(expected.topk(20).indices.tolist())
        for token, value in logprobs.items():
            assert math.isclose(value, expected[token].item(), abs_tol=1e-4)


def test_k_beyond_the_vocabulary_gives_all_of_it(llama_folder, guard, prompts):
    [logprobs] = open_backend(settings_for(llama_folder), guard).next_token_logprobs(prompts[:1], 10**6)
    assert len(logprobs) == len(guard.tokenizer)
    assert math.isclose(sum(math.exp(value) for value in logprobs.values()), 1.0, abs_tol=1e-5)


def test_continuations_are_greedy_and_do_not_depend_on_the_batch(llama_folder, guard, direct, prompts):
    together = open_backend(settings_for(llama_folder, batch_size=4), guard).complete(prompts, 5)
    alone = open_backend(settings_for(llama_folder, batch_size=1), guard).complete(prompts, 5)
    assert together == alone
    ids = list(prompts[0])
    for _ in range(5):
        ids.append(int(direct(ids).argmax()))
    assert together[0] == guard.tokenizer.decode(ids[len(prompts[0]) :])


def test_a_continuation_ends_before_the_end_of_sequence_token(tiny, tmp_path):
    script = ["Harmful▁request:▁no\n", "[INST]", "Response▁refusal:▁no\n"]
    tiny.wildguard_model(tmp_path, tiny.mistral_tokenizer(tmp_path), script)
    settings = GuardSettings(kind="wildguard", model=str(tmp_path), dtype="float32", max_length=1024)
    guard = GuardModel(settings)
    ids = tuple(guard.tokenizer("<|assistant|>\n")["input_ids"])
    # a control token inside an answer is shown, so that the answer cannot be taken for a proper one
    assert open_backend(settings, guard).complete([ids], 32) == ["Harmful request: no\n[INST]Response refusal: no\n"]


def test_a_context_longer_than_the_model_reads_is_refused(llama_folder):
    with pytest.raises(InputError, match=r"guard\.max_length is 5000, but .* reads 4096 tokens"):
        GuardModel(GuardSettings(kind="llama-guard-3", model=str(llama_folder), max_length=5000))


def test_errors_speak_of_the_guard(tmp_path, llama_folder):
    with pytest.raises(InputError, match=r"guard\.model: the folder .* does not exist"):
        GuardModel(settings_for(tmp_path / "none"))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickle"):
        GuardModel(settings_for(tmp_path))


def test_a_guard_whose_files_changed_meanwhile_is_not_loaded(tiny, tmp_path):
    tokenizer = tiny.llama_tokenizer(tmp_path)
    tiny.llama_model(tmp_path, tokenizer)
    guard = GuardModel(settings_for(tmp_path))
    tiny.llama_model(tmp_path, tokenizer, boost=1.0)
    with pytest.raises(StageError, match=r"The guard .* changed"):
        guard.load()


def test_a_guard_comes_from_s3(llama_folder, monkeypatch):
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="guards")
        for path in llama_folder.iterdir():
            client.upload_file(str(path), "guards", f"lg3/{path.name}")
        client.put_object(Bucket="guards", Key="lg3/original/consolidated.00.pth", Body=b"not wanted")
        guard = GuardModel(settings_for("s3://guards/lg3"))
        assert guard.digest == GuardModel(settings_for(llama_folder)).digest
        with pytest.raises(InputError, match="contains no model"):
            GuardModel(settings_for("s3://guards/nothing"))
    finally:
        server.stop()


@pytest.mark.skipif(HAS_VLLM, reason="vLLM is installed here")
def test_vllm_missing_is_said(llama_folder, guard):
    with pytest.raises(ConfigError, match=r"guard\.backend"):
        open_backend(settings_for(llama_folder, backend="vllm"), guard)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_VLLM, reason="vLLM is not installed here")
def test_vllm_gives_what_transformers_gives(llama_folder, guard, direct, prompts):
    ours = open_backend(settings_for(llama_folder), guard)
    vllm = open_backend(settings_for(llama_folder, backend="vllm"), guard)
    assert vllm.complete(prompts, 5) == ours.complete(prompts, 5)
    for ids, logprobs in zip(prompts, vllm.next_token_logprobs(prompts, 20), strict=True):
        expected = direct(ids)
        assert len(logprobs) >= 20
        for token, value in logprobs.items():
            assert math.isclose(value, expected[token].item(), abs_tol=1e-3)
