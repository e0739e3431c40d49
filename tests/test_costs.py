"""What a training step costs, in counts that do not depend on the clock.

They were read off the code of the day; `python -m benchmarks` says what they mean in
milliseconds. A change that makes one of them smaller lowers the number here; one that makes it
larger says in its commit what for.
"""

import gc
import tracemalloc

import numpy as np
import pytest

from benchmarks.tracing import LARGE, Counts, Traced, trace
from npformer.models import ClassifierConfig, ModelOutput, SequenceClassifier
from npformer.ops import cross_entropy_backward, cross_entropy_forward

B, T, D, H, F, L, V = 16, 64, 128, 4, 512, 2, 1000
CONFIG = ClassifierConfig(
    vocab_size=V, max_len=T, d_model=D, num_heads=H, num_layers=L, d_ff=F, num_classes=3
)


def step(params, rng):
    """Return the gradients of a batch in which nothing is padded."""
    model = SequenceClassifier(CONFIG, params)
    ids = rng.integers(0, V, (B, T))
    output, cache = model.forward(ids)
    _, loss_cache = cross_entropy_forward(output.logits, rng.integers(0, 3, B))
    del output
    _, grads = model.backward(ModelOutput(logits=cross_entropy_backward(1.0, loss_cache)), cache)
    return grads


@pytest.fixture
def params():
    return SequenceClassifier.init(CONFIG, np.random.default_rng(0)).params


def test_a_training_step_asks_for_no_more_than_it_did(params):
    counts = Counts()
    grads = step({name: trace(a, counts) for name, a in params.items()}, np.random.default_rng(1))
    assert all(isinstance(g, Traced) for g in grads.values()), "counting lost track of a gradient"
    assert counts.products <= 103
    # Eight of them are results inside an expression, in whose memory NumPy puts the next one.
    assert counts.large <= 28
    assert counts.moved <= 425e6
    # Beyond the products that the formulas ask for there are only sums, as products with ones.
    needed = 3 * L * (2 * B * T * (4 * D * D + 2 * D * F) + 4 * B * T * T * D)
    assert needed < counts.flops < 1.02 * needed


def test_peak_memory_of_a_training_step(params):
    step(params, np.random.default_rng(1))  # what is made once is made now
    gc.collect()
    tracemalloc.start()
    try:
        step(params, np.random.default_rng(1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 32 * 2**20


def test_arrays_in_a_list_are_counted():
    counts = Counts()
    x = trace(np.ones((512, 512), np.float32), counts)
    assert isinstance(np.concatenate([x, x]), Traced)
    assert counts == Counts(large=1, moved=4 * LARGE)


def test_counts_of_a_sum_of_products_by_hand():
    counts = Counts()
    x = trace(np.ones((512, 512), np.float32), counts)  # exactly 1 MiB
    y = x @ x
    y += 1
    z = np.where(y > 0, y, 0)
    assert z.sum() > 0
    mib = LARGE
    assert counts == Counts(
        products=1,
        flops=2 * 512**3,
        large=2,  # y and z; the mask is a quarter of that
        moved=2 * mib + mib * 5 // 4 + (mib // 4 + 2 * mib) + mib,
    )
