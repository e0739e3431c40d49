"""PyTorch, eager: the same steps with the fastest of its own optimizers and clipping."""

from collections.abc import Callable, Iterable

import torch

# Making an optimizer imports this: a part of the imports, not of training's memory.
import torch._dynamo
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.case import PEAK_PRODUCT, Case, Step, Values
from benchmarks.contenders.inputs import (
    LEARNING_RATE,
    MAX_NORM,
    WEIGHT_DECAY,
    make_batches,
    make_model,
)
from benchmarks.contenders.torch_bert import TorchBert
from benchmarks.contenders.torch_distill import TorchDistillation

Losses = Callable[[int], dict[str, Tensor]]  # of batch i; "loss" is the one to differentiate


def make(case: Case) -> Step:
    """Set ``case`` up."""
    torch.set_num_threads(case.threads)
    if case.mode == "train":
        return _supervised(case)
    if case.mode == "distill":
        pair = TorchDistillation(case)
        return training_step(pair, pair.losses)
    if case.mode == "infer":
        return _prediction(case)
    return _product()


def about() -> dict[str, str]:
    """Return the version."""
    return {"version": torch.__version__}


def padded(case: Case) -> list[tuple[Tensor, Tensor | None, Tensor]]:
    """Return ids, mask and labels of each batch; a mask that hides nothing is None."""
    tensors = []
    for batch in make_batches(case):
        keep = torch.from_numpy(batch.keep)
        mask = None if batch.keep.all() else keep[:, None, None, :]
        tensors.append((torch.from_numpy(batch.ids), mask, torch.from_numpy(batch.labels)))
    return tensors


def training_step(module: nn.Module, losses: Losses) -> Step:
    """Return forward, backward, clipping and AdamW for a module and the loss of batch i."""
    optimizer = torch.optim.AdamW(
        [
            {
                "params": _of_rank(module.parameters(), lambda n: n > 1),
                "weight_decay": WEIGHT_DECAY,
            },
            {"params": _of_rank(module.parameters(), lambda n: n == 1), "weight_decay": 0.0},
        ],
        lr=LEARNING_RATE,
        fused=True,
    )
    params = [p for group in optimizer.param_groups for p in group["params"]]

    def step(i: int, dropout: bool) -> Values:
        if module.training != dropout:
            module.train(dropout)
        optimizer.zero_grad(set_to_none=True)
        values = losses(i)
        values["loss"].backward()
        norm = nn.utils.clip_grad_norm_(params, MAX_NORM, foreach=True)
        optimizer.step()
        return {name: [v.item()] for name, v in values.items()} | {"gradient norm": [norm.item()]}

    return step


def _supervised(case: Case) -> Step:
    net, batches = TorchBert(make_model(case.shape, case.dropout)), padded(case)

    def losses(i: int) -> dict[str, Tensor]:
        ids, mask, labels = batches[i]
        return {"loss": functional.cross_entropy(net(ids, mask).logits, labels)}

    return training_step(net, losses)


def _prediction(case: Case) -> Step:
    net, batches = TorchBert(make_model(case.shape)).eval(), padded(case)

    def step(i: int, dropout: bool) -> Values:
        ids, mask, _ = batches[i]
        with torch.inference_mode():
            return {"logits": net(ids, mask).logits.flatten().tolist()}

    return step


def _product() -> Step:
    rows, inner, columns = PEAK_PRODUCT
    x, w, y = torch.ones(rows, inner), torch.ones(inner, columns), torch.empty(rows, columns)

    def step(i: int, dropout: bool) -> Values:
        torch.mm(x, w, out=y)
        return {}

    return step


def _of_rank(params: Iterable[nn.Parameter], wanted: Callable[[int], bool]) -> list[nn.Parameter]:
    return [p for p in params if wanted(p.ndim)]
