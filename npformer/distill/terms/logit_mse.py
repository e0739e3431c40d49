"""Regression: the student's number against the teacher's."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from npformer.checks import InputError
from npformer.data.batches import Counts
from npformer.distill.terms.term import Labels, logits_of
from npformer.layers.output import ModelOutput
from npformer.ops.losses import MseCache, mse_backward, mse_forward
from npformer.types import BoolArray, FloatArray, Params

TARGETS = ("teacher", "label")


class LogitMseCache(NamedTuple):
    """What `LogitMseTerm.backward` needs."""

    loss: MseCache


@dataclass(frozen=True)
class LogitMseTerm:
    r"""Squared error of the logits, mean over sequences and columns.

    .. math:: L = \frac{1}{n C} \sum_{i,c} (z^S_{ic} - z^T_{ic})^2

    A softmax over the one column of a regressor is 1 whatever the logit, so the soft
    cross-entropy would teach nothing there.

    Parameters
    ----------
    target : str
        "teacher", or "label": the released code compares with the label, and so distils nothing;
        its authors call that a mistake and say that the paper's figures used the teacher.
    params : dict
        Empty.

    References
    ----------
    huawei-noah issue 128; Ba and Caruana 2014, "Do deep nets really need to be deep?".
    """

    target: str = "teacher"
    params: Params = field(default_factory=dict)
    needs_scores: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f"target: got {self.target!r}, expected one of {', '.join(TARGETS)}")

    @property
    def needs_teacher(self) -> bool:
        """Whether it is compared with the teacher at all."""
        return self.target == "teacher"

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, LogitMseCache]:
        """Compare logits of shape (B, C) with the teacher's, or with labels of shape (B,)."""
        logits = logits_of(student, "student")
        target = self._target(logits, teacher, labels)  # (B, C)
        count = None if counts is None else counts.sequences * logits.shape[-1]
        value, cache = mse_forward(logits, target, count=count)
        return value, LogitMseCache(cache)

    def backward(self, dvalue: float, cache: LogitMseCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`."""
        return ModelOutput(logits=mse_backward(dvalue, cache.loss)), {}

    def _target(self, logits: FloatArray, teacher: ModelOutput, labels: Labels) -> FloatArray:
        if self.target == "teacher":
            return logits_of(teacher, "teacher")
        if labels is None:
            raise InputError("labels: got none, expected numbers to regress on")
        column: FloatArray = labels[:, None].astype(logits.dtype)  # (B, 1)
        return column
