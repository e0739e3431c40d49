"""What the bug museum says of PyTorch stands in PyTorch's own documentation."""

import pytest

from npformer.exercises.museum import find

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity


def test_the_default_reduction_is_acknowledged():
    assert find("kl-default-reduction").acknowledged
    assert "doesn't return the true KL divergence" in torch.nn.KLDivLoss.__doc__
