"""What is added must broadcast to what it is added to, not the other way round."""

import numpy as np
import pytest

from npformer import ops
from npformer.checks import InputError


@pytest.mark.parametrize("shape", [(4,), (2, 5), (7, 3, 5), (1, 2, 3, 5)], ids=str)
def test_a_bias_that_does_not_broadcast_is_an_error(shape):
    with pytest.raises(InputError, match=r"bias: got shape .*, expected one that broadcasts to"):
        ops.broadcast_add_forward(np.zeros((2, 3, 5)), np.zeros(shape))


def test_a_bias_larger_than_x_is_an_error():
    with pytest.raises(InputError, match=r"bias: got shape \(3, 5\)"):
        ops.broadcast_add_forward(np.zeros((1, 5)), np.zeros((3, 5)))
