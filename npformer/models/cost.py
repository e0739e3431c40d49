r"""What a model or a relative costs, from its configuration alone: no weight is made.

Three things that are often taken for one another:

- *parameters* are what is stored and sent. Of a small model most are the token table;
- *multiply-adds* are what is computed. The token table has none: a row is looked up;
- *memory* (`npformer.models.cost_memory`) is what is held at once. Attention's scores have no
  parameters and few multiply-adds, but an array for every head.

Time is a fourth one, follows from none of them, and is not computed here.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from npformer.checks import InputError, article
from npformer.layers.config import check_sizes
from npformer.layers.relative import SCHEMES
from npformer.layers.shapes import Axis, Shapes, sizes
from npformer.models.causal_lm import CausalLM
from npformer.models.config import EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2Seq

# The parts of a model. Those of a stack: the "layers" of a model with one, the "encoder" and the
# "decoder" of a model with two.
TABLES = ("token", "position", "segment", "norm", "projection")  # the last: of narrow tables
STACK = ("positions", "projections", "scores and mix", "feed-forward", "norms")
PARTS = (
    *(f"{tables}: {part}" for tables in ("embeddings", "source", "target") for part in TABLES),
    *(f"{stack}: {part}" for stack in ("layers", "encoder", "decoder") for part in STACK),
    *("pooler", "classifier", "head: transform", "head: output", "output"),
)

# How many times faster than BERT-base, by layers, width and d_ff: Jiao et al. 2020, table 1, on an
# NVIDIA K80. Measured there; no configuration tells.
PUBLISHED_SPEED_UP = {
    (4, 312, 1200): 9.4,
    (4, 512, 2048): 5.7,
    (4, 768, 3072): 3.0,
    (6, 768, 3072): 2.0,
}
BERT_BASE = (12, 768, 3072)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and the batch it is given.

    Parameters
    ----------
    kind : class
        `Encoder`, `SequenceClassifier`, `TokenClassifier`, `MaskedLM`, `CausalLM` or `Seq2Seq`.
    config : EncoderConfig, ClassifierConfig, CausalLMConfig or Seq2SeqConfig
        Dropout above 0 costs memory in training.
    batch_size, seq_len : int
        B and T; nothing is padding.
    source_len : int, optional
        S, of a `Seq2Seq`; default T.
    pooler : bool
        Count a pooler on an `Encoder`: here it has none, but Hugging Face's BertModel has one, and
        the published counts include it.

    Raises
    ------
    InputError
        If a sequence is longer than max_len, or the model has no source or no place for a pooler.
    """

    kind: type[Any]
    config: Any
    batch_size: int = 1
    seq_len: int = 128
    source_len: int | None = None
    pooler: bool = False

    def __post_init__(self) -> None:
        lengths = {"seq_len": self.seq_len, "source_len": self.source}
        check_sizes(batch_size=self.batch_size, **lengths)
        for name, length in lengths.items():
            if length > self.config.max_len:
                raise InputError(
                    f"{name}: got {length}, expected at most max_len = {self.config.max_len}"
                )
        if self.source_len is not None and self.kind is not Seq2Seq:
            raise InputError(
                f"source_len: got {self.source_len}, expected None for "
                f"{article(self.kind.__name__)}"
            )
        if self.pooler and self.kind is not Encoder:
            raise InputError(f"pooler: got True, expected False for {article(self.kind.__name__)}")

    @property
    def source(self) -> int:
        """S, T for a model without a source."""
        return self.source_len or self.seq_len

    @property
    def tokens(self) -> int:
        """B T."""
        return self.batch_size * self.seq_len

    @property
    def stacks(self) -> dict[str, tuple[int, int]]:
        """The number of layers and the length of what goes through them, for each stack."""
        if self.kind is Seq2Seq:
            return {
                "encoder": (self.config.num_encoder_layers, self.source),
                "decoder": (self.config.num_decoder_layers, self.seq_len),
            }
        return {"layers": (self.config.num_layers, self.seq_len)}

    @property
    def shapes(self) -> Shapes:
        """The axes of every parameter, by name; an encoder below a head is not named."""
        shapes: Shapes = dict(self.kind.shapes(self.config))
        if self.kind is not Seq2Seq:
            shapes = {name.removeprefix("encoder."): axes for name, axes in shapes.items()}
        d = Axis("D", self.config.d_model)
        return shapes | ({"pooler.w": (d, d), "pooler.b": (d,)} if self.pooler else {})


def count_parameters(work: Workload) -> dict[str, int]:
    """Return the numbers in the arrays of each part; the names are those of `PARTS`, in order."""
    counts = dict.fromkeys(PARTS, 0)
    for name, axes in work.shapes.items():
        counts[_part_of(work, name)] += math.prod(sizes(axes))
    return counts


def _part_of(work: Workload, name: str) -> str:
    """Return the part that a parameter belongs to."""
    first, *path = name.split(".")
    last = path[-1] if path else first
    if first in ("embeddings", "source", "target"):
        if last in ("gamma", "beta"):
            return f"{first}: norm"
        return f"{first}: {path[0]}"
    if first == "head":
        return "head: output" if last == "b_decoder" else "head: transform"
    if first in ("pooler", "classifier", "output"):
        return first
    stack = first if first in work.stacks else "layers"
    if last in ("gamma", "beta"):
        return f"{stack}: norms"
    if "feedforward" in path:
        return f"{stack}: feed-forward"
    scheme, config = SCHEMES[work.config.relative], work.config
    if last in scheme.layer_shapes(config) or last in scheme.stack_shapes(config):
        return f"{stack}: positions"
    return f"{stack}: projections"


def count_multiply_adds(work: Workload) -> dict[str, int]:
    r"""Return the multiply-adds of each part in a forward pass over the batch.

    One is one step of one sum of a matrix product. With N = B T tokens a layer has

    .. math::
        \underbrace{4 N D^2}_{\text{projections}} +
        \underbrace{2 N T D}_{\text{scores and mix}} +
        \underbrace{2 N D F}_{\text{feed-forward}}

    and with other shapes what they say: every weight is used once for each token that goes through
    it. Looking up embeddings has none; biases, norms, softmax and activations are no products, and
    those of relative positions are left out. A pooler reads one token of a sequence, a head that
    predicts tokens is counted at every token.

    Backward has two products for each one of forward, so a training step has three times as many;
    with ``recompute`` those of the layers come a fourth time.
    """
    config, n = work.config, work.tokens
    counts = dict.fromkeys(PARTS, 0)
    for name, axes in work.shapes.items():
        part, is_weight = _part_of(work, name), re.search(r"(^|\.)w(_\w+)?$", name)
        if is_weight and not part.endswith(": positions"):
            counts[part] += _rows(work, name) * math.prod(sizes(axes))
    scored = config.d_model if config.attention == "softmax" else config.num_heads
    for stack, (depth, length) in work.stacks.items():
        keys = length + (work.source if stack == "decoder" else 0)
        products = work.batch_size * length * keys * (scored + config.d_model)
        counts[f"{stack}: scores and mix"] = depth * products
    if work.kind is MaskedLM:
        counts["head: output"] = n * config.table_width * config.vocab_size
    elif work.kind is CausalLM or (work.kind is Seq2Seq and config.shared_embeddings):
        counts["output"] = n * config.d_model * config.vocab_size
    return counts


def _rows(work: Workload, name: str) -> int:
    """Return how many vectors a weight is multiplied with."""
    first, last = name.split(".")[0], name.rpartition(".")[2]
    if first == "pooler" or (first == "classifier" and work.kind is SequenceClassifier):
        return work.batch_size
    of_source = "cross_attention" in name and last in ("w_k", "w_v")
    return work.batch_size * (work.source if first == "encoder" or of_source else work.seq_len)


def of_layers(costs: dict[str, int]) -> int:
    """Return the sum over the parts of the layers, of both sides if there are two."""
    stacks = ("layers: ", "encoder: ", "decoder: ")
    return sum(cost for part, cost in costs.items() if part.startswith(stacks))


def layer_flops(work: Workload) -> int:
    """Return the floating-point operations of a forward pass, as papers count them.

    Two for each multiply-add, of the layers alone: no embeddings, no pooler, no head, nothing that
    is no matrix product. For one sequence of 128 tokens they are 22.347e9 for BERT-base, 1.247e9
    for TinyBERT-4 and 11.174e9 for TinyBERT-6. (The pooler would make the first and the last
    22.348 and 11.175.)

    References
    ----------
    Narayanan et al. 2021, "Efficient large-scale language model training on GPU clusters using
    Megatron-LM", appendix: 24 B s h^2 + 4 B s^2 h for a layer, where h is D, s is T and F = 4h.
    Deviations: the product with the token table, which they add, belongs to a head. Jiao et al.
    2020, "TinyBERT", table 1, print 22.5B, 1.2B and 11.3B and do not say what they counted.
    """
    return 2 * of_layers(count_multiply_adds(work))


def projection_parameters(student: EncoderConfig, teacher: EncoderConfig) -> int:
    """Return the size of TinyBERT's ``fit_dense``, a map with a bias that only training needs."""
    return (student.d_model + 1) * teacher.d_model


def published_speed_up(student: Any, teacher: Any) -> float | None:
    """Return how many times faster the student was measured to be; None for other pairs."""
    if not (isinstance(student, EncoderConfig) and isinstance(teacher, EncoderConfig)):
        return None
    small, large = ((c.num_layers, c.d_model, c.d_ff) for c in (student, teacher))
    return PUBLISHED_SPEED_UP.get(small) if large == BERT_BASE else None
