import numpy as np
import pytest

from npformer.checks import InputError
from npformer.optim import clip_by_global_norm, clip_by_tensor_norm, global_norm
from npformer.types import Params


def made() -> Params:
    """Norms 5 and 12, together 13."""
    return {"a": np.array([[3.0, 0.0], [0.0, -4.0]]), "b": np.array([12.0])}


def test_global_norm() -> None:
    assert global_norm(made()) == 13.0
    assert global_norm({}) == 0.0


def test_global_clipping_keeps_the_direction() -> None:
    grads = made()
    a = grads["a"]
    assert clip_by_global_norm(grads, 2.6) == 13.0
    factor = 2.6 / (13.0 + 1e-6)
    np.testing.assert_allclose(grads["a"], made()["a"] * factor, rtol=1e-15)
    np.testing.assert_allclose(grads["b"], made()["b"] * factor, rtol=1e-15)
    assert grads["a"] is a
    assert global_norm(grads) < 2.6


def test_tensor_clipping_leaves_small_tensors_alone() -> None:
    grads = made()
    assert clip_by_tensor_norm(grads, 6.0) == {"a": 5.0, "b": 12.0}
    np.testing.assert_array_equal(grads["a"], made()["a"])
    np.testing.assert_allclose(grads["b"], [12.0 * 6.0 / (12.0 + 1e-6)], rtol=1e-15)


@pytest.mark.parametrize("clip", [clip_by_global_norm, clip_by_tensor_norm])
def test_small_gradients_are_not_touched(clip) -> None:
    grads = made()
    clip(grads, 13.1)
    for name, g in made().items():
        np.testing.assert_array_equal(grads[name], g)


@pytest.mark.parametrize("clip", [clip_by_global_norm, clip_by_tensor_norm])
def test_type_stays(clip) -> None:
    grads = {name: g.astype(np.float32) for name, g in made().items()}
    clip(grads, 0.5)
    assert all(g.dtype == np.float32 for g in grads.values())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_is_returned_and_scales_nothing(bad: float) -> None:
    grads = {**made(), "c": np.array([1.0, bad])}
    assert not np.isfinite(clip_by_global_norm(grads, 1.0))
    np.testing.assert_array_equal(grads["a"], made()["a"])
    norms = clip_by_tensor_norm(grads, 1.0)
    assert not np.isfinite(norms["c"])
    assert norms["b"] == 12.0
    np.testing.assert_allclose(grads["b"], [1.0], rtol=1e-6)


@pytest.mark.parametrize("clip", [clip_by_global_norm, clip_by_tensor_norm])
@pytest.mark.parametrize("max_norm", [0.0, -1.0, np.nan, np.inf])
def test_nonsense_is_refused(clip, max_norm: float) -> None:
    grads = made()
    with pytest.raises(InputError, match="max_norm: got"):
        clip(grads, max_norm)
    np.testing.assert_array_equal(grads["b"], made()["b"])
