"""TinyBERT's losses in PyTorch: embedding, hidden, attention and prediction terms."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.case import Case
from benchmarks.contenders.inputs import (
    RECIPE,
    make_batches,
    make_model,
    make_projections,
    make_teacher,
)
from benchmarks.contenders.torch_bert import TorchBert
from npformer.distill.mapping import layer_mapping


class TorchDistillation(nn.Module):
    """A student with its projections; the teacher stands aside and is not trained."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        teacher = make_teacher(case)
        self.student = TorchBert(make_model(case.shape))
        self.projections = nn.ParameterDict(
            {
                name.removesuffix(".w"): nn.Parameter(torch.from_numpy(w))
                for name, w in make_projections(case).items()
            }
        )
        # In a list, so that it is no part of this module's parameters.
        self._teacher = [TorchBert(teacher).eval()]
        self._levels = layer_mapping(
            RECIPE.mapping, case.shape.num_layers, teacher.config.num_layers
        )
        batches = make_batches(case)
        self._ids = [torch.from_numpy(b.ids) for b in batches]
        self._keep = [None if b.keep.all() else torch.from_numpy(b.keep) for b in batches]

    def losses(self, i: int) -> dict[str, Tensor]:
        """Return every term of batch i, and their sum."""
        ids, keep = self._ids[i], self._keep[i]
        mask = None if keep is None else keep[:, None, None, :]
        layers = {m: g for m, g in self._levels if m > 0}
        with torch.no_grad():
            teacher = self._teacher[0](ids, mask, frozenset(layers.values()))
        student = self.student(ids, mask, frozenset(layers))

        weight = pairs = None
        if keep is not None:
            weight = keep[:, :, None].float()  # (B, T, 1)
            pairs = (mask & keep[:, None, :, None]).float()  # (B, 1, T, T)
        values = {
            "embedding": _squared_error(
                student.hidden[0] @ self.projections["embedding"], teacher.hidden[0], weight
            ),
            "hidden": sum(
                _squared_error(
                    student.hidden[m] @ self.projections["hidden"], teacher.hidden[g], weight
                )
                for m, g in layers.items()
            ),
            "attention": sum(
                _squared_error(student.scores[m], teacher.scores[g], pairs)
                for m, g in layers.items()
            ),
            "prediction": functional.kl_div(
                student.logits.log_softmax(-1),
                teacher.logits.log_softmax(-1),
                reduction="batchmean",
                log_target=True,
            ),
        }
        return {"loss": sum(values.values()), **values}


def _squared_error(x: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over the entries of weight 1; ``weight`` broadcasts to x."""
    if weight is None:
        return functional.mse_loss(x, target)
    broadcast = x.numel() // weight.numel()
    return ((x - target).square() * weight).sum() / (weight.sum() * broadcast)
