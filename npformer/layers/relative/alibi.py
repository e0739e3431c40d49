"""ALiBi: a bias that grows with the distance, the same on both sides; nothing is learned."""

from npformer.layers.relative.scheme import Maybe, Scheme
from npformer.ops.positions.alibi import alibi_bias
from npformer.types import FloatArray


class Alibi(Scheme):
    """As in Press et al. 2022, see `alibi_bias`."""

    def bias_forward(
        self, q: FloatArray, k: FloatArray, shared: Maybe, offset: int
    ) -> tuple[FloatArray, None]:
        """Return the penalties (1, H, T, S); as a constant they have no backward."""
        lengths = q.shape[2], k.shape[2]
        bias = alibi_bias(q.shape[1], *lengths, offset=offset, symmetric=True, dtype=q.dtype)
        return bias, None
