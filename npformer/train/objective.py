"""What a training step asks for: the loss of a batch and its gradients.

An objective is a function of a batch and of the *whole* batch's counts, so that the results
of its parts add up to the result of the whole.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from npformer.data.batches import IGNORE, Batch, Counts
from npformer.data.pairs import PairBatch
from npformer.layers.output import ModelOutput, last_hidden
from npformer.models.decoding import shift_right
from npformer.models.heads import SequenceClassifier
from npformer.models.masked_lm import HeadCache, MaskedLM
from npformer.models.seq2seq import Seq2Seq
from npformer.ops.losses import (
    cross_entropy_backward,
    cross_entropy_forward,
    mse_backward,
    mse_forward,
)
from npformer.types import FloatArray, IntArray, Params, part, prefixed


class StepResult(NamedTuple):
    """The loss of a batch, or of a part of one, term by term, and its gradients.

    All three add over the parts of a batch: the values are divided by the whole batch's
    counts, and a cotangent's squared norm is the sum of those of its rows.
    """

    values: dict[str, float]  # "loss" is the weighted total, the others single terms
    squared_norms: dict[str, float]  # of each term's gradient at the outputs of the model
    grads: Params


class Objective(Protocol):
    """A loss with its gradients; ``rng`` None means no dropout."""

    def __call__(self, batch: Any, counts: Counts, rng: np.random.Generator | None) -> StepResult:
        """Return the loss and gradients of ``batch``, a part of one with these counts."""
        ...


def add_results(a: StepResult, b: StepResult) -> StepResult:
    """Add the results of two parts of a batch, in this order."""
    values = {name: a.values[name] + b.values[name] for name in a.values}
    norms = {name: a.squared_norms[name] + b.squared_norms[name] for name in a.squared_norms}
    return StepResult(values, norms, {name: a.grads[name] + b.grads[name] for name in a.grads})


@dataclass(frozen=True)
class SupervisedObjective:
    """Cross-entropy with the labels, or for a regressor the squared error, mean over sequences."""

    model: SequenceClassifier
    recompute: bool = False  # as in `Encoder.forward`: less memory, more time, the same numbers

    def __call__(self, batch: Batch, counts: Counts, rng: np.random.Generator | None) -> StepResult:
        """Return the loss and gradients of ``batch``."""
        output, cache = self.model.forward(
            batch.ids, batch.keep, batch.segments, rng=rng, recompute=self.recompute
        )
        logits, labels = output.logits, batch.labels
        if logits is None or labels is None:
            raise ValueError("a supervised step needs logits and labels")
        if self.model.config.problem == "regression":
            target = labels[:, None].astype(logits.dtype)  # (B, 1)
            loss, mse_cache = mse_forward(logits, target, count=counts.sequences)
            dlogits = mse_backward(1.0, mse_cache)
        else:
            loss, ce_cache = cross_entropy_forward(
                logits, cast(IntArray, labels), count=counts.sequences
            )
            dlogits = cross_entropy_backward(1.0, ce_cache)
        _, grads = self.model.backward(ModelOutput(logits=dlogits), cache)
        norm = float(np.vdot(dlogits, dlogits))
        return StepResult({"loss": loss}, {"loss": norm}, grads)


@dataclass(frozen=True)
class MaskedLMObjective:
    """Cross-entropy of the masked tokens, mean over them."""

    model: MaskedLM
    recompute: bool = False  # as in `Encoder.forward`

    def __call__(self, batch: Batch, counts: Counts, rng: np.random.Generator | None) -> StepResult:
        """Return the loss and gradients of ``batch``, whose labels are of shape (B, T)."""
        labels = batch.labels
        if labels is None or labels.shape != batch.ids.shape:
            raise ValueError("a masked-LM step needs a label, or -100, for each token")
        flat = cast(IntArray, labels).reshape(-1)  # (B T,)
        positions = np.flatnonzero(flat != IGNORE)  # (P,)
        output, cache = self.model.forward(
            batch.ids,
            batch.keep,
            batch.segments,
            positions=positions,
            rng=rng,
            recompute=self.recompute,
        )
        assert output.logits is not None
        loss, ce_cache = cross_entropy_forward(output.logits, flat[positions], count=counts.targets)
        dlogits = cross_entropy_backward(1.0, ce_cache)
        _, grads = self.model.backward(ModelOutput(logits=dlogits), cache)
        norm = float(np.vdot(dlogits, dlogits))
        return StepResult({"loss": loss}, {"loss": norm}, grads)


@dataclass(frozen=True)
class HeadObjective:
    """The same loss under a frozen encoder, whose backward is spared: the head's gradients alone.

    The encoder runs without dropout: its states are features here, and nothing that it learns.
    """

    model: MaskedLM

    def __call__(self, batch: Batch, counts: Counts, rng: np.random.Generator | None) -> StepResult:
        """Return the loss and gradients of ``batch``."""
        logits, labels, cache = masked_logits(self.model, batch)
        loss, ce_cache = cross_entropy_forward(logits, labels, count=counts.targets)
        dlogits = cross_entropy_backward(1.0, ce_cache)
        _, grads = self.model.head_backward(dlogits, cache)
        norm = float(np.vdot(dlogits, dlogits))
        return StepResult({"loss": loss}, {"loss": norm}, prefixed("head", part(grads, "head")))


def masked_logits(model: MaskedLM, batch: Batch) -> tuple[FloatArray, IntArray, HeadCache]:
    """Predict the masked tokens, for whoever needs no gradient of the encoder.

    Returns
    -------
    logits : ndarray of shape (P, V)
    labels : ndarray of shape (P,)
        The tokens that stood there.
    cache : HeadCache
    """
    if batch.labels is None or batch.labels.shape != batch.ids.shape:
        raise ValueError("a masked-LM step needs a label, or -100, for each token")
    flat = cast(IntArray, batch.labels).reshape(-1)  # (B T,)
    positions = np.flatnonzero(flat != IGNORE)  # (P,)
    output, _ = model.encoder.forward(batch.ids, batch.keep, batch.segments, recompute=True)
    states = last_hidden(output).reshape(-1, model.config.d_model)[positions]  # (P, D)
    logits, cache = model.head_forward(states)
    return logits, flat[positions], cache


@dataclass(frozen=True)
class TranslationObjective:
    """Cross-entropy of the target's tokens with teacher forcing, mean over them.

    At every position the decoder is given the right tokens before it (`shift_right`). It needs no
    mask for the target's padding, which stands on the right: no real token looks there.
    """

    model: Seq2Seq
    start: int  # the token before the first one
    label_smoothing: float = 0.0

    def __call__(
        self, batch: PairBatch, counts: Counts, rng: np.random.Generator | None
    ) -> StepResult:
        """Return the loss and gradients of ``batch``."""
        given = shift_right(batch.target, self.start)
        output, cache = self.model.forward(batch.source, given, batch.source_keep, rng=rng)
        assert output.logits is not None
        loss, ce_cache = cross_entropy_forward(
            output.logits,
            np.where(batch.target_keep, batch.target, IGNORE),
            label_smoothing=self.label_smoothing,
            count=counts.targets,
        )
        dlogits = cross_entropy_backward(1.0, ce_cache)
        _, grads = self.model.backward(ModelOutput(logits=dlogits), cache)
        norm = float(np.vdot(dlogits, dlogits))
        return StepResult({"loss": loss}, {"loss": norm}, grads)
