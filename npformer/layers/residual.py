"""What joins a part of a block to the residual path: a norm, dropout and a sum."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npformer.checks import check_fraction
from npformer.layers.norm import Norm, NormCache, NormConfig
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.types import FloatArray, Params


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(NormConfig):
    """Sizes of `Residual`."""

    dropout: float = 0.0  # on the output of each part
    norm_first: bool = False  # pre-LN

    def __post_init__(self) -> None:
        check_fraction("dropout", self.dropout)
        super().__post_init__()


class MergeCache(NamedTuple):
    """What `Residual.merge_backward` needs."""

    dropout: DropoutCache
    norm: NormCache | None


@dataclass(frozen=True)
class Residual:
    r"""The path around a part f of a block, such as attention.

    Post-LN, as in BERT and the original Transformer, the default; and pre-LN (``norm_first``),
    where the residual path is free of norms:

    .. math:: y = \operatorname{norm}(x + \operatorname{dropout}(f(x))), \qquad
              y = x + \operatorname{dropout}(f(\operatorname{norm}(x)))

    `branch_forward` gives what f reads, `merge_forward` takes what f gave.

    Parameters
    ----------
    config : ResidualConfig
    params : dict
        Those of the `Norm`.

    References
    ----------
    Vaswani et al. 2017, section 3.1 (post-LN); Xiong et al. 2020, "On layer normalization in
    the Transformer architecture", figure 1b (pre-LN).
    """

    config: ResidualConfig
    params: Params

    @property
    def _norm(self) -> Norm:
        return Norm(self.config, self.params)

    def branch_forward(self, x: FloatArray) -> tuple[FloatArray, NormCache | None]:
        """Return what the part reads of x (B, T, D)."""
        return self._norm.forward(x) if self.config.norm_first else (x, None)

    def branch_backward(
        self, dbranch: FloatArray, cache: NormCache | None
    ) -> tuple[FloatArray, Params]:
        """Undo `branch_forward`: return dx, of this way alone, and ``grads``."""
        return (dbranch, {}) if cache is None else self._norm.backward(dbranch, cache)

    def merge_forward(
        self, x: FloatArray, part: FloatArray, rng: np.random.Generator | None
    ) -> tuple[FloatArray, MergeCache]:
        """Add the part's output to x (B, T, D)."""
        dropped, dropout = dropout_forward(part, self.config.dropout, rng)
        y: FloatArray = x + dropped
        if self.config.norm_first:
            return y, MergeCache(dropout, None)
        y, norm = self._norm.forward(y)
        return y, MergeCache(dropout, norm)

    def merge_backward(
        self, dy: FloatArray, cache: MergeCache
    ) -> tuple[FloatArray, FloatArray, Params]:
        """Undo `merge_forward`: return dx, of this way alone, dpart and ``grads``."""
        grads: Params = {}
        if cache.norm is not None:
            dy, grads = self._norm.backward(dy, cache.norm)
        return dy, dropout_backward(dy, cache.dropout), grads
