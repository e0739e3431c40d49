"""BERT against numbers that transformers once gave: parity where PyTorch is absent.

`tests/parity/freeze.py` wrote them; `tests/parity/test_bert_torch.py` checks that they are true.
"""

import numpy as np
import pytest
from models import frozen

from npformer import ops
from npformer.models import ModelOutput

NUMBERS = frozen.read()


def close(ours, theirs, tolerance=1e-10):
    np.testing.assert_allclose(ours, np.array(theirs), rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", frozen.KINDS)
def test_outputs_loss_and_gradients(kind):
    model, expected = frozen.make(kind), NUMBERS[kind]
    inputs = frozen.IDS, frozen.KEEP, frozen.SEGMENTS
    output, cache = model.forward(*inputs, output_scores=True)
    logits = output.logits
    labels = frozen.LABELS[kind]
    if kind == "masked_lm":
        labels = labels.reshape(frozen.IDS.shape)
    close(logits if kind == "sequence" else logits[frozen.KEEP], expected["logits"])
    loss, loss_cache = ops.cross_entropy_forward(logits, labels)
    assert loss == pytest.approx(expected["loss"], abs=1e-10)
    dlogits = ops.cross_entropy_backward(1.0, loss_cache)
    _, grads = model.backward(ModelOutput(logits=dlogits), cache)
    assert set(expected["gradients"]) == set(frozen.gradient_names(kind))
    for name, g in expected["gradients"].items():
        assert np.abs(g).max() > 1e-4, name
        close(grads[name], g)


def test_hidden_states_and_scores():
    model = frozen.make("sequence")
    inputs = frozen.IDS, frozen.KEEP, frozen.SEGMENTS
    output, _ = model.forward(*inputs, output_scores=True)
    assert len(NUMBERS["hidden"]) == len(output.hidden) == 3
    assert len(NUMBERS["scores"]) == len(output.scores) == 2
    for ours, theirs in zip(output.hidden, NUMBERS["hidden"], strict=True):
        close(ours[frozen.KEEP], theirs)
    for ours, theirs in zip(output.scores, NUMBERS["scores"], strict=True):
        close(ours.swapaxes(1, 2)[frozen.KEEP], theirs)  # (kept queries, H, T)


def test_float32_is_near():
    double = frozen.make("sequence")
    model = type(double)(
        double.config, {name: p.astype(np.float32) for name, p in double.params.items()}
    )
    output, _ = model.forward(frozen.IDS, frozen.KEEP, frozen.SEGMENTS)
    assert output.logits.dtype == np.float32
    close(output.logits, NUMBERS["sequence"]["logits"], 1e-5)
