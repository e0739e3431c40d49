"""Prediction: the student's probabilities against the teacher's, both at temperature tau."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from npformer.checks import InputError, check_positive
from npformer.data.batches import Counts
from npformer.distill.terms.term import Labels, logits_of
from npformer.layers.output import ModelOutput
from npformer.ops.losses import (
    SoftTargetCache,
    kl_backward,
    kl_forward,
    soft_cross_entropy_backward,
    soft_cross_entropy_forward,
)
from npformer.types import BoolArray, Params

KINDS = {
    "soft_cross_entropy": (soft_cross_entropy_forward, soft_cross_entropy_backward),
    "kl": (kl_forward, kl_backward),
}


class PredictionCache(NamedTuple):
    """What `PredictionTerm.backward` needs."""

    loss: SoftTargetCache


@dataclass(frozen=True)
class PredictionTerm:
    r"""Soft cross-entropy or KL divergence with the teacher, mean over sequences, in nats.

    .. math:: L = \frac{\kappa}{n} \sum_i \operatorname{CE}\bigl(
              \operatorname{softmax}(z^T_i/\tau),\ \operatorname{softmax}(z^S_i/\tau)\bigr)

    with kappa = tau^2 if ``tau_squared``, else 1. For logits of tokens, (B, T, C), the mean is over
    the kept tokens.

    Parameters
    ----------
    tau : float
        Temperature above 0.
    tau_squared : bool
        Multiply by tau^2, which holds the size of the gradient as tau grows.
    kind : str
        "soft_cross_entropy", or "kl", which is less by the teacher's entropy: the same gradient,
        and 0 where the student agrees.
    divide_by_classes : bool
        Divide by C as well, as ``.mean()`` over a (B, C) array does in the released code.
    params : dict
        Empty.

    References
    ----------
    Jiao et al. 2020, "TinyBERT", equation 10, with tau = 1 and kappa = 1; Hinton et al. 2015,
    section 2, for tau^2; huawei-noah issues 11 and 176 for the mean over classes.
    """

    tau: float = 1.0
    tau_squared: bool = False
    kind: str = "soft_cross_entropy"
    divide_by_classes: bool = False
    params: Params = field(default_factory=dict)
    needs_teacher: ClassVar[bool] = True
    needs_scores: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("tau", self.tau)
        if self.kind not in KINDS:
            raise InputError(f"kind: got {self.kind!r}, expected one of {', '.join(KINDS)}")

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, PredictionCache]:
        """Compare the logits; ``keep`` of shape (B, T), labels are not read."""
        logits = logits_of(student, "student")  # (B, C) or (B, T, C)
        of_tokens = logits.ndim == 3
        if counts is not None:
            rows = counts.tokens if of_tokens else counts.sequences
        else:
            rows = int(keep.sum()) if of_tokens else len(logits)
        forward, _ = KINDS[self.kind]
        value, cache = forward(
            logits,
            logits_of(teacher, "teacher"),
            self.tau,
            tau_squared=self.tau_squared,
            keep=keep if of_tokens else None,
            count=rows * logits.shape[-1] if self.divide_by_classes else rows,
        )
        return value, PredictionCache(cache)

    def backward(self, dvalue: float, cache: PredictionCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`."""
        _, backward = KINDS[self.kind]
        return ModelOutput(logits=backward(dvalue, cache.loss)), {}
