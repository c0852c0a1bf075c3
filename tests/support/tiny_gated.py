"""Small tokenizers and models of the structure of Llama-Guard-3 (Llama 3) and WildGuard (Mistral)."""

import itertools
import json

from tiny_guards import TEMPLATES, byte_level

from thinksafe.judging.guards.rendering import load_format

# what the gated model's tokenizer_config.json holds, as public copies have it (the source is named in
# thinksafe/data/guards/llama-guard-3.yaml); a file of its own, so that the tests do not compare our format with itself
TEMPLATE = (TEMPLATES / "llama-guard-3.jinja").read_text("utf-8").removesuffix("\n")
LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_CONTROL = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|python_tag|>", "<|reserved_special_token_0|>",
]
# pieces that no text is tokenized into, for scripted models to write
ANSWERS = [
    "Harmful▁request:▁yes\n", "Response▁refusal:▁no\n", "Harmful▁response:▁yes",
    "Harmful▁request:▁no\n", "Response▁refusal:▁yes\n", "Harmful▁response:▁no", "I▁think▁that▁it▁is▁safe.",
]
MISTRAL_CONTROL = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]"]


def corpus(name):
    return [load_format(name).render("How do I bake bread?", "Mix flour and water.")] * 40


def llama_tokenizer(folder, *, words=("safe", "unsafe"), template=TEMPLATE):
    """Byte-level BPE with Llama 3's split, control tokens and begin-of-sequence post-processor."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer, trainer = byte_level(LLAMA_SPLIT, 700)
    # the frame itself names both verdicts; only ``words`` are to be learned as whole tokens
    text = [text.replace("unsafe", "").replace("safe", "") for text in corpus("llama-guard-3")]
    tokenizer.train_from_iterator([*text, *(f"\n\n{word}" for word in words for _ in range(99))], trainer)
    tokenizer.add_special_tokens(LLAMA_CONTROL)
    begin = LLAMA_CONTROL[0]
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
            ),
        ]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=begin, eos_token="<|eot_id|>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast


def mistral_tokenizer(folder):
    """SentencePiece-style BPE: spaces as metaspace, byte fallback, [INST] as a control token, one <s> in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    draft = Tokenizer(models.BPE())
    draft.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Metaspace(prepend_scheme="never")]
    )
    draft.train_from_iterator(corpus("wildguard"), trainers.BpeTrainer(vocab_size=500, show_progress=False))
    learned = json.loads(draft.to_str())["model"]
    pieces = [*MISTRAL_CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), *ANSWERS, *learned["vocab"]]
    vocab = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    merges = [tuple(merge) for merge in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    tokenizer.add_special_tokens(MISTRAL_CONTROL)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return fast


def llama_model(folder, tokenizer, *, boost=40.0, favoured=("safe", "unsafe")):
    """A random Llama whose next token is one of ``favoured`` with nearly all probability, whatever it reads.

    The first of the hidden features is made constant over texts, and the output rows of the favoured tokens give it
    a large weight; the other features still depend on the text, and so does the split among the favoured.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32,  # the least that vLLM's CPU build knows
        max_position_embeddings=4096, initializer_range=0.2, rope_theta=500000.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 1.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        model.lm_head.weight[:, 0] = 0.0
        for word in favoured:
            [token] = tokenizer(word, add_special_tokens=False)["input_ids"]
            model.lm_head.weight[token, 0] = boost
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return model


def wildguard_model(folder, tokenizer, script):
    """A Mistral that writes the pieces of ``script`` after WildGuard's prompt, then ends.

    Attention and feed-forward add nothing, so that the next token depends on the last one alone.
    """
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, sliding_window=None, initializer_range=1.0,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, tie_word_embeddings=False,
    )
    model = MistralForCausalLM(config).eval()
    start = tokenizer(load_format("wildguard").render("x", "x"), add_special_tokens=False)["input_ids"][-1]
    chain = [start, *tokenizer.convert_tokens_to_ids(list(script)), tokenizer.eos_token_id]
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for token, following in itertools.pairwise(chain):
            model.lm_head.weight[following] += model.model.embed_tokens.weight[token]
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return folder
