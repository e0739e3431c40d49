"""Hard labels: the ordinary cross-entropy, for a sum with the teacher's."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Counts
from npformer.distill.terms.term import Labels, logits_of
from npformer.layers.output import ModelOutput
from npformer.ops.losses import CrossEntropyCache, cross_entropy_backward, cross_entropy_forward
from npformer.types import BoolArray, Params


class HardLabelCache(NamedTuple):
    """What `HardLabelTerm.backward` needs."""

    loss: CrossEntropyCache


@dataclass(frozen=True)
class HardLabelTerm:
    r"""Cross-entropy with the labels, mean over those that are not -100, in nats.

    .. math:: L = -\frac1n \sum_i \log \operatorname{softmax}(z^S_i)_{\mathrm{label}_i}

    TinyBERT has no such term; Hinton et al. do. No temperature, and no tau^2.

    Parameters
    ----------
    params : dict
        Empty.

    References
    ----------
    Hinton, Vinyals and Dean 2015, section 2; huawei-noah issue 139.
    """

    params: Params = field(default_factory=dict)
    needs_teacher: ClassVar[bool] = False
    needs_scores: ClassVar[bool] = False

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, HardLabelCache]:
        """Compare the logits with integer labels of shape (B,), or (B, T) for tokens."""
        if labels is None or not np.issubdtype(labels.dtype, np.integer):
            got = "none" if labels is None else f"{labels.dtype} array"
            raise InputError(f"labels: got {got}, expected integer classes for the hard labels")
        count = None if counts is None else counts.targets
        classes = labels.astype(np.int64, copy=False)
        value, cache = cross_entropy_forward(logits_of(student, "student"), classes, count=count)
        return value, HardLabelCache(cache)

    def backward(self, dvalue: float, cache: HardLabelCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`."""
        return ModelOutput(logits=cross_entropy_backward(dvalue, cache.loss)), {}
