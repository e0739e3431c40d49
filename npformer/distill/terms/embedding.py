"""The output of the embeddings: a term of its own, so that nobody asks where it went."""

from dataclasses import dataclass
from typing import ClassVar

from npformer.data.batches import Counts
from npformer.distill.terms.hidden import HiddenCache, HiddenTerm
from npformer.distill.terms.term import Labels
from npformer.layers.output import ModelOutput
from npformer.types import BoolArray, Params


@dataclass(frozen=True)
class EmbeddingTerm:
    r"""Squared error of the projected embeddings, mean over kept tokens and D_T.

    .. math:: L = \frac{1}{n D_T} \sum_{b,t} \mathrm{keep}_{bt}
              \bigl\lVert h^S_{0,bt} W_e + b_e - h^T_{0,bt} \bigr\rVert^2

    "Embeddings" are hidden[0]: word, position and segment added up, after layer norm and dropout,
    as in the released code, which adds this to the loss of the hidden states and never logs it.

    Parameters
    ----------
    projection : str
        The name of W_e among ``params``. To share it with a `HiddenTerm`, give both the same name
        and the same arrays.
    params, include_padding
        As in `HiddenTerm`.

    References
    ----------
    Jiao et al. 2020, "TinyBERT", equation 9; huawei-noah issues 2, 43 and 61.
    """

    projection: str
    params: Params
    include_padding: bool = False
    needs_teacher: ClassVar[bool] = True
    needs_scores: ClassVar[bool] = False

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, HiddenCache]:
        """Compare the embeddings; ``keep`` of shape (B, T), labels are not read."""
        return self._level_zero.forward(student, teacher, keep, counts=counts)

    def backward(self, dvalue: float, cache: HiddenCache) -> tuple[ModelOutput, Params]:
        """Undo `forward`."""
        return self._level_zero.backward(dvalue, cache)

    @property
    def _level_zero(self) -> HiddenTerm:
        return HiddenTerm(((0, 0),), (self.projection,), self.params, self.include_padding)
