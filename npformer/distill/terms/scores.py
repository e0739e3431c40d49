"""Attention: the student's scores, before the softmax, against the teacher's."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from npformer.checks import InputError, check_shape
from npformer.data.batches import Counts
from npformer.distill.mapping import LayerMapping
from npformer.distill.terms.term import Labels, layer_scores, silent_but
from npformer.layers.config import check_choice
from npformer.layers.output import ModelOutput
from npformer.ops.losses import MseCache, mse_backward, mse_forward
from npformer.types import BoolArray, FloatArray, Params

HEADS = ("equal", "group_mean")


class AttentionTermCache(NamedTuple):
    """What `AttentionScoresTerm.backward` needs."""

    errors: tuple[MseCache, ...]  # one per layer
    num_layers: int  # of the student


@dataclass(frozen=True)
class AttentionScoresTerm:
    r"""Squared error of the scores before the softmax, mean over kept pairs and heads, summed.

    .. math:: L = \sum_{m \ge 1} \frac{1}{H \sum_b n_b^2} \sum_{b,h,t,s}
              \mathrm{keep}_{bt}\,\mathrm{keep}_{bs}
              \bigl(A^S_{m,bhts} - \bar A^T_{g(m),bhts}\bigr)^2

    with :math:`A = q k^\top / \sqrt{K}` and n_b the kept tokens of sequence b. A pair counts if its
    query *and* its key are real tokens: what a padded query would attend to is read by nobody. H is
    the student's number of heads, and the teacher's :math:`H_T` heads become as many:

    .. math:: \bar A^T_h = \frac{1}{G} \sum_{j=1}^{G} A^T_{(h-1)G + j}, \qquad G = H_T / H

    With G = 1 that is the teacher's own head h. A mean of scores is the score of no head: its
    softmax is the normalised *geometric* mean of the group's attention maps.

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
    heads : str
        "equal" refuses a teacher of another number of heads, "group_mean" averages its groups.
    params : dict
        Empty.

    Notes
    -----
    The two options of the released code are defined on the *padded* batch: parts of a batch add
    up only if they are padded to one length, so such a recipe trains with one shard.

    References
    ----------
    Jiao et al. 2020, "TinyBERT", equation 7. Deviations: the paper does not speak of padding, and
    its two models have equal numbers of heads. The released code also zeroes real scores at or
    below -100, in both models; this does not.
    """

    levels: LayerMapping
    mask_queries: bool = True
    divide_by_area: bool = False
    heads: str = "equal"
    params: Params = field(default_factory=dict)
    needs_teacher: ClassVar[bool] = True
    needs_scores: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_choice("heads", self.heads, HEADS)

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, AttentionTermCache]:
        """Compare the layers; ``keep`` of shape (B, T), labels are not read.

        Raises
        ------
        InputError
            If the numbers of heads do not fit, or the scores are missing.
        """
        pairs = keep[:, None, None, :]  # (B, 1, 1, T) keys
        if self.mask_queries:
            pairs = pairs & keep[:, None, :, None]  # (B, 1, T, T)
        value = 0.0
        errors = []
        for m, g in self.levels:
            x = layer_scores(student, m, "student")  # (B, H, T, T)
            target = layer_scores(teacher, g, "teacher")  # (B, H_T, T, T)
            check_heads(x.shape[1], target.shape[1], self.heads)
            target = group_mean(target, x.shape[1])  # (B, H, T, T)
            check_shape("keep", keep, (len(x), x.shape[2]))
            layer_value, cache = mse_forward(x, target, pairs, count=self._count(x, counts))
            value += layer_value
            errors.append(cache)
        return value, AttentionTermCache(tuple(errors), len(student.scores or ()))

    def backward(self, dvalue: float, cache: AttentionTermCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`: one error per layer."""
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


def group_mean(scores: FloatArray, heads: int) -> FloatArray:
    """Return the means of ``heads`` groups of neighbouring heads.

    Parameters
    ----------
    scores : ndarray of shape (B, H_T, T, T)
        H_T is a multiple of ``heads``.
    heads : int

    Returns
    -------
    ndarray of shape (B, H, T, T)
    """
    b, all_heads, t, s = scores.shape
    if all_heads == heads:
        return scores
    means: FloatArray = scores.reshape(b, heads, -1, t, s).mean(axis=2)  # (B, H, T, T)
    return means


def check_heads(student: int, teacher: int, heads: str) -> None:
    """Require numbers of heads that can be compared: equal ones, or groups of equal size."""
    got = f"num_heads: got {student} in the student and {teacher} in the teacher"
    if heads == "group_mean" and teacher % student:
        divisors = [str(n) for n in range(1, teacher + 1) if teacher % n == 0]
        raise InputError(
            f"{got}, which cannot be grouped evenly, expected a student of {', '.join(divisors)} "
            "heads (--student LxDxH)"
        )
    if heads == "equal" and student != teacher:
        groups = "compare with means of groups (--heads group_mean), "
        raise InputError(
            f"{got}, expected as many to compare scores head by head: "
            f"{'' if teacher % student else groups}give the student {teacher} "
            f"(--student LxDx{teacher}), or leave the attention term out (--weight attention=0)"
        )
