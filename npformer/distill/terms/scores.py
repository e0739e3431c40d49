"""Attention: the student's scores, before the softmax, against the teacher's."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from npformer.checks import InputError, check_shape
from npformer.data.batches import Counts
from npformer.distill.mapping import LayerMapping
from npformer.distill.terms.term import Labels, layer_scores, silent_but
from npformer.models.output import ModelOutput
from npformer.ops.losses import MseCache, mse_backward, mse_forward
from npformer.types import BoolArray, FloatArray, Params


class AttentionScoresCache(NamedTuple):
    """What `AttentionScoresTerm.backward` needs."""

    errors: tuple[MseCache, ...]  # one a layer
    num_layers: int  # of the student


@dataclass(frozen=True)
class AttentionScoresTerm:
    r"""Squared error of the scores before the softmax, mean over kept pairs and heads, summed.

    .. math:: L = \sum_{m \ge 1} \frac{1}{H \sum_b n_b^2} \sum_{b,h,t,s} k_{bt} k_{bs}
              \bigl(A^S_{m,bhts} - A^T_{g(m),bhts}\bigr)^2

    with :math:`A = q k^\top / \sqrt{K}` and n_b the kept tokens of sequence b. A pair counts if its
    query *and* its key are real tokens: what a padded query would attend to is read by nobody.

    Parameters
    ----------
    levels : tuple of (m, g(m))
        Pairs of layers, counted from 1.
    mask_queries : bool
        False counts padded queries too, as TinyBERT's released code does (its mask has shape
        (B, 1, 1, S)); the divisor is then :math:`H T \sum_b n_b`.
    divide_by_area : bool
        True divides by :math:`B H T^2`, padding included, as the released code does: 32 tokens
        padded to 128 dilute the loss of the pairs sixteen times.
    params : dict
        Empty.

    Notes
    -----
    The two options of the released code are defined on the *padded* batch: parts of a batch add
    up only if they are padded to one length, so such a recipe trains with one shard.

    References
    ----------
    Jiao et al. 2020, "TinyBERT", equation 7. Deviations: the paper does not speak of padding. The
    released code also zeroes real scores at or below -100, in both models; this does not.
    """

    levels: LayerMapping
    mask_queries: bool = True
    divide_by_area: bool = False
    params: Params = field(default_factory=dict)
    needs_scores: ClassVar[bool] = True

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, AttentionScoresCache]:
        """Compare the layers; ``keep`` of shape (B, T), labels are not read.

        Raises
        ------
        InputError
            If student and teacher have different numbers of heads, or the scores are missing.
        """
        pairs = keep[:, None, None, :]  # (B, 1, 1, T) keys
        if self.mask_queries:
            pairs = pairs & keep[:, None, :, None]  # (B, 1, T, T)
        value = 0.0
        errors = []
        for m, g in self.levels:
            x = layer_scores(student, m, "student")  # (B, H, T, T)
            target = layer_scores(teacher, g, "teacher")
            check_heads(x.shape[1], target.shape[1])
            check_shape("keep", keep, (len(x), x.shape[2]))
            layer_value, cache = mse_forward(x, target, pairs, count=self._count(x, counts))
            value += layer_value
            errors.append(cache)
        return value, AttentionScoresCache(tuple(errors), len(student.scores or ()))

    def backward(self, dvalue: float, cache: AttentionScoresCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`: one error a layer."""
        dscores: dict[int, FloatArray] = {}
        for (m, _), mse_cache in zip(self.levels, cache.errors, strict=True):
            dx = mse_backward(dvalue, mse_cache)
            dscores[m - 1] = dscores[m - 1] + dx if m - 1 in dscores else dx
        return ModelOutput(scores=silent_but(cache.num_layers, dscores)), {}

    def _count(self, x: FloatArray, counts: Counts | None) -> int | None:
        heads, length = int(x.shape[1]), int(x.shape[2])
        if self.divide_by_area:
            sequences = len(x) if counts is None else counts.sequences
            return sequences * heads * length * length
        if counts is None:
            return None
        pairs = counts.pairs if self.mask_queries else counts.tokens * length
        return heads * pairs


def check_heads(student: int, teacher: int) -> None:
    """Require equal numbers of heads: scores are compared head by head."""
    if student != teacher:
        raise InputError(
            f"num_heads: got {student} in the student and {teacher} in the teacher, expected as "
            f"many to compare scores head by head: give the student {teacher} "
            f"(--student LxDx{teacher}), or leave the attention term out (--weight attention=0)"
        )
