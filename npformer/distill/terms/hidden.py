"""Hidden states: the student's, through a learned projection, against the teacher's."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from npformer.checks import InputError
from npformer.data.batches import Counts
from npformer.distill.mapping import LayerMapping
from npformer.distill.terms.term import Labels, hidden_state, silent_but
from npformer.layers.output import ModelOutput
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.ops.losses import MseCache, mse_backward, mse_forward
from npformer.types import BoolArray, FloatArray, Params


class HiddenCache(NamedTuple):
    """What `HiddenTerm.backward` needs."""

    projected: tuple[LinearCache, ...]  # one per level
    errors: tuple[MseCache, ...]  # one per level
    num_states: int  # of the student


@dataclass(frozen=True)
class HiddenTerm:
    r"""Squared error of projected hidden states, mean over kept tokens and D_T, summed over levels.

    .. math:: L = \sum_m \frac{1}{n D_T} \sum_{b,t} \mathrm{keep}_{bt}
              \bigl\lVert h^S_{m,bt} W_m + b_m - h^T_{g(m),bt} \bigr\rVert^2, \qquad
              n = \sum_{b,t} \mathrm{keep}_{bt}

    Parameters
    ----------
    levels : tuple of (m, g(m))
        Pairs of hidden states; 0 is the output of the embeddings.
    projections : tuple of str
        For each level the name of its projection. Levels, and even terms, that name the same one
        share it, and its gradient is the sum of theirs.
    params : dict
        For each name of ``projections`` an array ``<name>.w`` of shape (D_S, D_T) and, where it has
        a bias, ``<name>.b`` (D_T,).
    include_padding : bool
        Count padded tokens like any other, as TinyBERT's released code does. The divisor is then
        :math:`B T D_T`, a number of the *padded* batch: parts of a batch add up only if they are
        padded to one length, so such a recipe trains with one shard.

    References
    ----------
    Jiao et al. 2020, "TinyBERT", equation 8, where W is one matrix without bias for all layers.
    Deviations: none, but for the padding, of which the paper does not speak.
    """

    levels: LayerMapping
    projections: tuple[str, ...]
    params: Params
    include_padding: bool = False
    needs_teacher: ClassVar[bool] = True
    needs_scores: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if len(self.projections) != len(self.levels):
            raise InputError(
                f"projections: got {len(self.projections)}, expected {len(self.levels)}, "
                "one per level"
            )

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, HiddenCache]:
        """Compare the levels; ``keep`` of shape (B, T), labels are not read."""
        value = 0.0
        projected, errors = [], []
        for (m, g), name in zip(self.levels, self.projections, strict=True):
            target = hidden_state(teacher, g, "teacher")  # (B, T, D_T)
            x, linear_cache = linear_forward(
                hidden_state(student, m, "student"),
                self.params[f"{name}.w"],
                self.params.get(f"{name}.b"),
            )  # (B, T, D_T)
            level_value, mse_cache = mse_forward(
                x,
                target,
                None if self.include_padding else keep[:, :, None],
                count=self._count(target, counts),
            )
            value += level_value
            projected.append(linear_cache)
            errors.append(mse_cache)
        num_states = len(student.hidden or ())
        return value, HiddenCache(tuple(projected), tuple(errors), num_states)

    def backward(self, dvalue: float, cache: HiddenCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`, level by level: the error, then the projection."""
        dhidden: dict[int, FloatArray] = {}
        grads: Params = {}
        for (m, _), name, linear_cache, mse_cache in zip(
            self.levels, self.projections, cache.projected, cache.errors, strict=True
        ):
            dx = mse_backward(dvalue, mse_cache)
            dstate, dw, db = linear_backward(dx, linear_cache)  # (B, T, D_S)
            dhidden[m] = dhidden[m] + dstate if m in dhidden else dstate
            for key, dp in ((f"{name}.w", dw), (f"{name}.b", db)):
                if dp is not None:
                    grads[key] = grads[key] + dp if key in grads else dp
        return ModelOutput(hidden=silent_but(cache.num_states, dhidden)), grads

    def _count(self, target: FloatArray, counts: Counts | None) -> int | None:
        if counts is None:
            return None
        length, width = int(target.shape[1]), int(target.shape[2])
        tokens = counts.sequences * length if self.include_padding else counts.tokens
        return tokens * width
