"""Losses without the full logits in memory: cross-entropy, and forward KL(student_0 || student) at response tokens.

student_0 is the original student: the same weights with the adapter switched off or, where all weights are trained, a
frozen copy with a vocabulary projection of its own. The backbone gives hidden states; the vocabulary projection and the
loss are computed one chunk of tokens at a time, and again in the backward pass.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from thinksafe.errors import ConfigError
from thinksafe.training.data import IGNORED

CHUNK = 64
"""Response tokens per chunk of logits. More take more memory and change results only by rounding."""

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Project = Callable[["Tensor"], "Tensor"]
"""Hidden states [..., hidden size] to logits [..., vocabulary], in float32 at least."""
Compute = Callable[[Project, "Tensor"], Any]
"""What to compute from the projection and the hidden states."""


def forward_kl(
    project: Project, student: Tensor, reference: Tensor, chunk: int, original: Project | None = None
) -> Tensor:
    """Return KL(reference || student) of the next-token distributions, in nats, for each token.

    Args:
        project: The student's vocabulary projection.
        student: Hidden states of the student, [tokens, hidden size]; the gradient flows into these and the projection.
        reference: Hidden states of the reference, of the same shape.
        chunk: Tokens whose logits exist at once.
        original: The reference's vocabulary projection; None if both share one.
    """
    import torch

    def piece(student: Tensor, reference: Tensor) -> Tensor:
        with torch.no_grad():
            log_q = (original or project)(reference).log_softmax(-1)
        log_p = project(student).log_softmax(-1)
        # not split into two sums: this one is exactly 0 where both are equal
        return (log_q.exp() * (log_q - log_p)).sum(-1)

    return _chunked(piece, chunk, student, reference.detach())


def symmetric_kl(
    project: Project, student: Tensor, reference: Tensor, chunk: int, original: Project | None = None
) -> Tensor:
    """Return the mean of KL(reference || student) and KL(student || reference); see :func:`forward_kl`."""
    import torch

    def piece(student: Tensor, reference: Tensor) -> Tensor:
        with torch.no_grad():
            log_q = (original or project)(reference).log_softmax(-1)
        log_p = project(student).log_softmax(-1)
        # both divergences in one sum
        return 0.5 * ((log_q.exp() - log_p.exp()) * (log_q - log_p)).sum(-1)

    return _chunked(piece, chunk, student, reference.detach())


def cross_entropy(project: Project, student: Tensor, targets: Tensor, chunk: int) -> Tensor:
    """Return the negative log-likelihood of ``targets`` [tokens], in nats, for each token; see :func:`forward_kl`."""
    import torch

    def piece(student: Tensor, targets: Tensor) -> Tensor:
        return torch.nn.functional.cross_entropy(project(student), targets, reduction="none")

    return _chunked(piece, chunk, student, targets)


def _chunked(piece: Callable[..., Tensor], chunk: int, *tensors: Tensor) -> Tensor:
    import torch
    from torch.utils.checkpoint import checkpoint

    parts = [
        checkpoint(
            piece, *(tensor[start : start + chunk] for tensor in tensors), use_reentrant=False, preserve_rng_state=False
        )
        for start in range(0, len(tensors[0]), chunk)
    ]
    # a sum over no elements: 0, but still a function of the hidden states, as all processes must run a backward pass
    return torch.cat(parts) if parts else tensors[0].sum(-1)


def at_projection(model: Any, hidden: Tensor, compute: Compute) -> Any:
    """Return ``compute(project, hidden)``, with the vocabulary projection of a causal language model.

    It is called inside the forward of the output embeddings, because sharded weights
    (:mod:`thinksafe.training.sharding`) are complete only there. The projection includes the soft cap of Gemma's
    logits.
    """
    head = model.get_output_embeddings()
    inner, own = head.forward, "forward" in vars(head)
    project = projection_of(model, inner)
    head.forward = lambda hidden: compute(project, hidden)
    try:
        return head(hidden)
    finally:
        if own:
            head.forward = inner
        else:
            del head.forward


def projection_of(model: Any, head: Callable[[Tensor], Tensor]) -> Project:
    """Return the vocabulary projection of a causal language model, given the function from hidden states to logits."""
    import torch

    cap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)

    def project(hidden: Tensor) -> Tensor:
        logits = head(hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return torch.tanh(logits / cap) * cap if cap else logits

    return project


def kept_projection(model: Any) -> Project:
    """Return the vocabulary projection with a copy of its weights as they are now, in the CPU's memory until used.

    Where weights are sharded, call it inside :func:`at_projection`.

    Raises:
        TypeError: the output embeddings are no linear layer.
    """
    import torch

    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Linear):
        raise TypeError("the output embeddings are no linear layer")
    bias = None if head.bias is None else head.bias.detach().cpu().clone()
    kept = [head.weight.detach().cpu().clone(), bias]

    def linear(hidden: Tensor) -> Tensor:
        kept[:] = (each if each is None else each.to(hidden.device) for each in kept)
        weight, bias = kept
        return torch.nn.functional.linear(hidden.to(weight.dtype), weight, bias)

    return projection_of(model, linear)


def frozen_copy(model: Any, dtype: torch.dtype) -> Any:
    """Return a copy of a model that training leaves as it is, in a number format."""
    return copy.deepcopy(model).to(dtype).requires_grad_(False).eval()


def student_of(model: Any) -> Any:
    """Return the causal language model itself, from inside a PEFT model if it is one."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_projection(model: Any) -> None:
    """Check on a few tokens that hidden states and projection give the model's own logits.

    Raises:
        ConfigError: they do not, so the KL would be that of other distributions.
    """
    import torch

    training = model.training
    ids = torch.arange(1, 5, device=model.device)[None]
    model.eval()
    try:
        with torch.no_grad():
            expected = model(input_ids=ids, use_cache=False).logits
            states = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
            found = at_projection(model, states, lambda project, hidden: project(hidden))
    except (AttributeError, TypeError):
        found = None
    finally:
        model.train(training)
    if found is None or not torch.allclose(found, expected.to(found.dtype), rtol=1e-2, atol=1e-3):
        raise ConfigError(
            f"It is unknown how {type(model).__name__} computes its logits, which method.benign_loss: kl, "
            "method.kind: safekey or self-distillation and training.strategy: fsdp need.",
            "Set method.benign_loss: cross-entropy, another method.kind and training.strategy: ddp.",
        )


def add_losses(model: Any, chunk: int) -> None:
    """Add two calls to a causal language model; without their arguments its forward stays unchanged.

    ``model(..., compute=)`` returns what the function makes of the projection and the hidden states [rows, tokens - 1,
    hidden size], and ``model(..., labels=, benign=, reference=, projection=)`` a mapping of sums over response tokens:
    ``cross_entropy`` of the rows that are not ``benign`` [rows], and ``kl`` of the others against ``reference`` [their
    response tokens, hidden size] with the reference's own ``projection``, if it has one.
    """
    original = model.forward

    def forward(
        self: Any, *args: Any, labels: Any = None, benign: Any = None, reference: Any = None,
        projection: Project | None = None, compute: Compute | None = None, **kwargs: Any,
    ) -> Any:
        if compute is None and benign is None:
            return original(*args, labels=labels, **kwargs) if labels is not None else original(*args, **kwargs)

        def losses(project: Project, states: Tensor) -> dict[str, Tensor]:
            targets = labels[:, 1:]
            response = targets != IGNORED
            plain, matched = response & ~benign[:, None], response & benign[:, None]
            return {
                "cross_entropy": cross_entropy(project, states[plain], targets[plain], chunk).sum(),
                "kl": forward_kl(
                    project, states[matched], states[matched] if reference is None else reference, chunk,
                    None if reference is None else projection,
                ).sum(),
            }

        states = self.base_model(*args, **kwargs | {"use_cache": False}).last_hidden_state[:, :-1]
        return at_projection(self, states, compute or losses)

    model.forward = types.MethodType(forward, model)
    model.has_losses = True


def states_only(_: Project, hidden: Tensor) -> Tensor:
    """Return the hidden states: a computation for :func:`add_losses` that needs no logits."""
    return hidden


def reference_states(model: Any, inputs: dict[str, Any], always: bool = False) -> Tensor | None:
    """Return the reference's hidden states at the response tokens of benign rows, or None if there are none.

    Args:
        model: PEFT model, or a frozen copy, around one that :func:`add_losses` has prepared.
        inputs: ``input_ids``, ``attention_mask`` and ``labels`` [rows, tokens], and ``benign`` [rows].
        always: Run the reference even if there are none, as all processes that share weights must.

    Returns:
        [response tokens of benign rows, hidden size], in the order of rows and places.
    """
    benign = inputs["benign"]
    found = bool(benign.any())
    if not found and not always:
        return None
    read = benign if found else slice(1)
    with as_reference(model):
        states = model(
            input_ids=inputs["input_ids"][read], attention_mask=inputs["attention_mask"][read], compute=states_only
        )
    return states[inputs["labels"][read][:, 1:] != IGNORED] if found else None


@contextmanager
def as_reference(model: Any) -> Iterator[None]:
    """Switch off adapter, gradients and dropout; restore everything afterwards, even after an error."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval()
    try:
        with torch.no_grad(), model.disable_adapter() if hasattr(model, "get_base_model") else nullcontext():
            # PEFT freezes what it disables; FSDP determines in its first forward which weights are trained
            for weight in trained:
                weight.requires_grad_(True)
            yield
    finally:
        for module, training in modes:
            module.training = training
