"""Scores against the means of groups of the teacher's heads, by PyTorch's autograd."""

import numpy as np
import pytest

from npformer.distill.terms import AttentionScoresTerm
from npformer.models import ModelOutput

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

KEEP = np.arange(7) < np.array([[7], [3], [5], [1], [6]])  # (B, T)
LAYERS = ((1, 2), (2, 4))


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_groups_of_heads(heads):
    b, t = KEEP.shape
    rng = np.random.default_rng(4)
    low, high = rng.standard_normal((2, b, heads, t, t))
    targets = rng.standard_normal((4, b, 6, t, t))
    term = AttentionScoresTerm(LAYERS, heads="group_mean")
    value, cache = term.forward(
        ModelOutput(scores=(low, high)), ModelOutput(scores=tuple(targets)), KEEP
    )
    dstudent, _ = term.backward(1.7, cache)

    leaves = [torch.tensor(a, requires_grad=True) for a in (low, high)]
    keep = torch.tensor(KEEP)
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    expected = 0.0
    for x, (_, g) in zip(leaves, LAYERS, strict=True):
        groups = torch.tensor(targets[g - 1]).unflatten(1, (heads, 6 // heads)).mean(dim=2)
        where = pairs.expand_as(x)
        expected = expected + torch.nn.functional.mse_loss(x[where], groups[where])
    (1.7 * expected).backward()
    assert abs(value - expected.item()) < 1e-12
    for ours, leaf in zip(dstudent.scores, leaves, strict=True):
        assert np.abs(ours).max() > 0
        np.testing.assert_allclose(ours, leaf.grad.numpy(), rtol=0, atol=1e-12)
