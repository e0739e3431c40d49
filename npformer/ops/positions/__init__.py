"""Position encodings, one family a file."""

from npformer.ops.positions.sinusoidal import (
    SinusoidalCache,
    sinusoidal_backward,
    sinusoidal_forward,
    sinusoidal_table,
)

__all__ = ["SinusoidalCache", "sinusoidal_backward", "sinusoidal_forward", "sinusoidal_table"]
