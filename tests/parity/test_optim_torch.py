"""Optimizers, schedules and clipping against PyTorch and transformers: 20 steps, 1e-10."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from optim.trajectory import STEPS, gradients, rate, run, start

from npformer.optim import (
    Adam,
    AdamW,
    BertAdam,
    Optimizer,
    Sgd,
    clip_by_global_norm,
    clip_by_tensor_norm,
    cosine_schedule,
    linear_schedule,
    noam_schedule,
)
from npformer.types import Params

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.parity

TOLERANCE = 1e-10


class ReferenceBertAdam:
    """BERT's rule on tensors, from the formula: no bias correction, decay inside the step."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, eps: float) -> None:
        self.param_groups = [{**group, "lr": lr} for group in groups]
        self.eps = eps
        self.moments: dict[Any, Any] = {}

    def step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                m, v = self.moments.get(p, (0.0, 0.0))
                m = 0.9 * m + 0.1 * p.grad
                v = 0.999 * v + 0.001 * p.grad**2
                self.moments[p] = m, v
                update = m / (torch.sqrt(v) + self.eps) + group["weight_decay"] * p
                p -= group["lr"] * update


def torch_path(make: Callable[[list[dict[str, Any]]], Any], decay: float) -> list[Params]:
    tensors = {name: torch.tensor(a) for name, a in start().items()}
    optimizer = make(
        [
            {"params": [t for t in tensors.values() if t.ndim > 1], "weight_decay": decay},
            {"params": [t for t in tensors.values() if t.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    path = []
    with torch.no_grad():
        for step in range(STEPS):
            now = {name: t.numpy().copy() for name, t in tensors.items()}
            for name, g in gradients(now, step).items():
                tensors[name].grad = torch.tensor(g)
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            optimizer.step()
            path.append({name: t.numpy().copy() for name, t in tensors.items()})
    return path


CASES: dict[str, tuple[Optimizer, Callable[[list[dict[str, Any]]], Any], float]] = {
    "sgd": (Sgd(momentum=0.0), lambda g: torch.optim.SGD(g, lr=1.0), 0.0),
    "sgd momentum": (Sgd(momentum=0.9), lambda g: torch.optim.SGD(g, lr=1.0, momentum=0.9), 0.0),
    "sgd decay": (
        Sgd(momentum=0.8, weight_decay=0.1),
        lambda g: torch.optim.SGD(g, lr=1.0, momentum=0.8),
        0.1,
    ),
    "adam": (Adam(), lambda g: torch.optim.Adam(g, lr=1.0), 0.0),
    "adam L2": (
        Adam(betas=(0.8, 0.99), eps=1e-5, weight_decay=0.1),
        lambda g: torch.optim.Adam(g, lr=1.0, betas=(0.8, 0.99), eps=1e-5),
        0.1,
    ),
    "adamw": (AdamW(weight_decay=0.1), lambda g: torch.optim.AdamW(g, lr=1.0), 0.1),
    "bertadam": (
        BertAdam(weight_decay=0.1),
        lambda g: ReferenceBertAdam(g, lr=1.0, eps=1e-6),
        0.1,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_twenty_steps(case: str) -> None:
    optimizer, make, decay = CASES[case]
    ours, theirs = run(optimizer, rate), torch_path(make, decay)
    assert len(ours) == len(theirs) == STEPS
    for step in range(STEPS):
        for name in ours[step]:
            np.testing.assert_allclose(
                ours[step][name], theirs[step][name], rtol=0, atol=TOLERANCE, err_msg=f"{step}"
            )


def torch_factors(make: Callable[[Any], Any], steps: int) -> list[float]:
    """Return the factor that each of the first steps uses."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


@pytest.mark.parametrize(("warmup", "total"), [(0, 12), (1, 12), (5, 23), (12, 12)])
def test_schedules_of_transformers(warmup: int, total: int) -> None:
    transformers = pytest.importorskip("transformers")
    cases = [
        (linear_schedule, transformers.get_linear_schedule_with_warmup),
        (cosine_schedule, transformers.get_cosine_schedule_with_warmup),
    ]
    for ours, theirs in cases:
        # Up to and with the total, where cosines part: see the deviation in its docstring.
        expected = torch_factors(
            lambda o, make=theirs: make(o, num_warmup_steps=warmup, num_training_steps=total),
            total + 1 if warmup < total else total,
        )
        factors = [ours(t, warmup=warmup, total=total) for t in range(len(expected))]
        np.testing.assert_allclose(factors, expected, rtol=0, atol=TOLERANCE)


def test_noam_as_a_torch_lambda() -> None:
    def formula(t: int) -> float:
        return min(1 / math.sqrt(t), t / math.sqrt(7) ** 3) / math.sqrt(48) if t else 0.0

    expected = torch_factors(lambda o: torch.optim.lr_scheduler.LambdaLR(o, formula), 30)
    factors = [noam_schedule(t, warmup=7, d_model=48) for t in range(30)]
    np.testing.assert_allclose(factors, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("max_norm", [0.5, 3.0, 1e6])
def test_clipping(max_norm: float) -> None:
    grads = gradients(start(), 3)
    tensors = {name: torch.zeros(g.shape, dtype=torch.float64) for name, g in grads.items()}
    for name, g in grads.items():
        tensors[name].grad = torch.tensor(g)
    alone = {name: g.copy() for name, g in grads.items()}

    expected = torch.nn.utils.clip_grad_norm_(tensors.values(), max_norm)
    assert clip_by_global_norm(grads, max_norm) == pytest.approx(float(expected), rel=1e-12)
    for name, g in grads.items():
        np.testing.assert_allclose(g, tensors[name].grad.numpy(), rtol=1e-12)

    for name, g in alone.items():
        tensors[name].grad = torch.tensor(g)
        torch.nn.utils.clip_grad_norm_([tensors[name]], max_norm)
    clip_by_tensor_norm(alone, max_norm)
    for name, g in alone.items():
        np.testing.assert_allclose(g, tensors[name].grad.numpy(), rtol=1e-12)
