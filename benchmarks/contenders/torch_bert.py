"""BERT in eager PyTorch, as fast as it goes: q, k and v in one product, fused attention."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from npformer.models import SequenceClassifier
from npformer.types import FloatArray, Params, part


class TorchOutput(NamedTuple):
    """What the losses look at."""

    hidden: list[Tensor]  # L + 1 times (B, T, D)
    scores: dict[int, Tensor]  # layer counted from 1 -> (B, H, T, T), before the mask
    logits: Tensor  # (B, C)


class TorchBlock(nn.Module):
    """One post-LN encoder layer."""

    def __init__(self, d_model: int, num_heads: int, d_ff: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.p_drop = num_heads, dropout
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.norm_1 = nn.LayerNorm(d_model, eps=1e-12)
        self.up = nn.Linear(d_model, d_ff)
        self.down = nn.Linear(d_ff, d_model)
        self.norm_2 = nn.LayerNorm(d_model, eps=1e-12)
        self.drop = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None, output_scores: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Apply the layer; scores cost the fused attention, so only where asked for."""
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, T, K) each
        p_drop = self.p_drop if self.training else 0.0
        scores = None
        if output_scores:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, H, T, T)
            masked = scores if mask is None else scores.masked_fill(~mask, float("-inf"))
            ctx = functional.dropout(masked.softmax(-1), p_drop) @ v
        else:
            ctx = functional.scaled_dot_product_attention(q, k, v, mask, p_drop)
        joined = ctx.transpose(1, 2).reshape(batch, length, width)
        u = self.norm_1(x + self.drop(self.out(joined)))
        y = self.norm_2(u + self.drop(self.down(functional.gelu(self.up(u)))))
        return y, scores


class TorchBert(nn.Module):
    """npformer's `SequenceClassifier`, with the weights of one."""

    def __init__(self, model: SequenceClassifier) -> None:
        super().__init__()
        c = model.config
        self.token = nn.Embedding(c.vocab_size, c.d_model)
        self.position = nn.Embedding(c.max_len, c.d_model)
        self.segment = nn.Embedding(c.num_segments, c.d_model)
        self.norm = nn.LayerNorm(c.d_model, eps=1e-12)
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(
            TorchBlock(c.d_model, c.num_heads, c.d_ff, c.dropout) for _ in range(c.num_layers)
        )
        self.pooler = nn.Linear(c.d_model, c.d_model)
        self.classifier = nn.Linear(c.d_model, c.num_classes)
        self._load(model.params)

    def forward(
        self, ids: Tensor, mask: Tensor | None = None, score_layers: frozenset[int] = frozenset()
    ) -> TorchOutput:
        """Classify a batch.

        Parameters
        ----------
        ids : integer tensor of shape (B, T)
        mask : boolean tensor of shape (B, 1, 1, T), optional
            True = real token.
        score_layers : frozenset of int
            The layers, counted from 1, whose attention scores are wanted.
        """
        x = self.token(ids) + self.position.weight[: ids.shape[1]] + self.segment.weight[0]
        hidden, scores = [self.drop(self.norm(x))], {}
        for layer, block in enumerate(self.blocks, start=1):
            y, a = block(hidden[-1], mask, layer in score_layers)
            hidden.append(y)
            if a is not None:
                scores[layer] = a
        pooled = torch.tanh(self.pooler(hidden[-1][:, 0]))
        return TorchOutput(hidden, scores, self.classifier(self.drop(pooled)))

    def _load(self, params: Params) -> None:
        p = part(params, "encoder")
        tables = {name: getattr(self, name) for name in ("token", "position", "segment")}
        with torch.no_grad():
            for name, table in tables.items():
                table.weight.copy_(torch.from_numpy(p[f"embeddings.{name}"]))
            _fill(self.norm, p["embeddings.gamma"], p["embeddings.beta"])
            for i, block in enumerate(self.blocks):
                _load_block(block, part(p, f"layers.{i}"))
            for name, linear in (("pooler", self.pooler), ("classifier", self.classifier)):
                _fill(linear, params[f"{name}.w"].T, params[f"{name}.b"])


def _load_block(block: TorchBlock, p: Params) -> None:
    d = len(p["attention.b_q"])
    for i, name in enumerate("qkv"):
        rows = slice(i * d, (i + 1) * d)
        block.qkv.weight[rows] = torch.from_numpy(p[f"attention.w_{name}"].T)
        block.qkv.bias[rows] = torch.from_numpy(p[f"attention.b_{name}"])
    _fill(block.out, p["attention.w_o"].T, p["attention.b_o"])
    _fill(block.up, p["feedforward.w_1"].T, p["feedforward.b_1"])
    _fill(block.down, p["feedforward.w_2"].T, p["feedforward.b_2"])
    _fill(block.norm_1, p["norm_1.gamma"], p["norm_1.beta"])
    _fill(block.norm_2, p["norm_2.gamma"], p["norm_2.beta"])


def _fill(module: nn.Linear | nn.LayerNorm, weight: FloatArray, bias: FloatArray) -> None:
    module.weight.copy_(torch.from_numpy(weight))
    module.bias.copy_(torch.from_numpy(bias))
