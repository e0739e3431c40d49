"""HIPS autograd: BERT as one writes it in NumPy, its gradient traced, npformer's AdamW."""

from importlib.metadata import version
from typing import Any

import autograd.numpy as np
from autograd import value_and_grad
from autograd.scipy.special import erf, logsumexp

from benchmarks.case import Case, Step, Values
from benchmarks.contenders.inputs import (
    LEARNING_RATE,
    MAX_NORM,
    WEIGHT_DECAY,
    make_batches,
    make_model,
)
from npformer.data.batches import Batch
from npformer.models.config import ClassifierConfig
from npformer.optim import AdamW, clip_by_global_norm
from npformer.types import Params

# Boxes of autograd's, or arrays: it has no types of its own.
Array = Any


def make(case: Case) -> Step:
    """Set ``case`` up."""
    model, batches = make_model(case.shape), make_batches(case)
    optimizer = AdamW(weight_decay=WEIGHT_DECAY)
    state = optimizer.init(model.params)
    loss_and_gradient = value_and_grad(_loss)

    def step(i: int, dropout: bool) -> Values:
        loss, grads = loss_and_gradient(model.params, model.config, batches[i])
        # Some of its derivatives are float64 whatever the arrays are.
        grads = {name: g.astype(model.params[name].dtype) for name, g in grads.items()}
        norm = clip_by_global_norm(grads, MAX_NORM)
        optimizer.update(model.params, grads, state, LEARNING_RATE)
        return {"loss": [float(loss)], "gradient norm": [norm]}

    return step


def about() -> dict[str, str]:
    """Return the version."""
    return {"version": version("autograd")}


def _loss(params: Params, config: ClassifierConfig, batch: Batch) -> Array:
    logits = _logits(params, config, batch)  # (B, C)
    rows = np.arange(len(logits))
    return np.mean(logsumexp(logits, axis=-1) - logits[rows, batch.labels])


def _logits(p: Params, config: ClassifierConfig, batch: Batch) -> Array:
    table, places = p["encoder.embeddings.token"], p["encoder.embeddings.position"]
    segments = p["encoder.embeddings.segment"]
    x = table[batch.ids] + places[: batch.ids.shape[1]] + segments[batch.segments]
    x = _layernorm(x, p["encoder.embeddings.gamma"], p["encoder.embeddings.beta"])
    hide = None if batch.keep.all() else np.where(batch.keep, 0.0, -1e9).astype(x.dtype)
    for i in range(config.num_layers):
        x = _block(x, hide, p, f"encoder.layers.{i}.", config.num_heads)
    pooled = np.tanh(x[:, 0] @ p["pooler.w"] + p["pooler.b"])
    return pooled @ p["classifier.w"] + p["classifier.b"]


def _block(x: Array, hide: Array | None, p: Params, name: str, num_heads: int) -> Array:
    def heads(z: Array) -> Array:
        return np.transpose(np.reshape(z, (*z.shape[:2], num_heads, -1)), (0, 2, 1, 3))

    q, k, v = (
        heads(x @ p[f"{name}attention.w_{n}"] + p[f"{name}attention.b_{n}"]) for n in "qkv"
    )  # (B, H, T, K) each
    scores = q @ np.swapaxes(k, -1, -2) * float(q.shape[-1]) ** -0.5  # (B, H, T, T)
    if hide is not None:
        scores = scores + hide[:, None, None, :]
    above = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    ctx = above / np.sum(above, axis=-1, keepdims=True) @ v
    joined = np.reshape(np.transpose(ctx, (0, 2, 1, 3)), x.shape)
    a = joined @ p[f"{name}attention.w_o"] + p[f"{name}attention.b_o"]
    u = _layernorm(x + a, p[f"{name}norm_1.gamma"], p[f"{name}norm_1.beta"])
    h = u @ p[f"{name}feedforward.w_1"] + p[f"{name}feedforward.b_1"]
    gelu = 0.5 * h * (1.0 + erf(h * 2.0**-0.5))
    f = gelu @ p[f"{name}feedforward.w_2"] + p[f"{name}feedforward.b_2"]
    return _layernorm(u + f, p[f"{name}norm_2.gamma"], p[f"{name}norm_2.beta"])


def _layernorm(x: Array, gamma: Array, beta: Array) -> Array:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-12) * gamma + beta
