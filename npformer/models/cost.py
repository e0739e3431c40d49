r"""What a BERT or a relative costs, from its configuration alone: no array is made.

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

from npformer.checks import InputError, article
from npformer.layers.config import check_sizes
from npformer.layers.shapes import Axis, sizes
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.config import write_config
from npformer.models.huggingface.family import Model
from npformer.models.huggingface.registry import written_family
from npformer.models.masked_lm import MaskedLM

# The parts of a model, and the names of their arrays.
PARTS = {
    "embeddings: token": r"embeddings\.token",
    "embeddings: position": r"embeddings\.position",
    "embeddings: segment": r"embeddings\.segment",
    "embeddings: norm": r"embeddings\.(gamma|beta)",
    "embeddings: projection": r"embeddings\.projection",  # of narrow tables to the width
    "layers: projections": r"layers\.\d+\.attention\.",
    "layers: scores and mix": r"$",  # products of activations with activations
    "layers: feed-forward": r"layers\.\d+\.feedforward\.",
    "layers: norms": r"layers\.\d+\.norm_",
    "pooler": r"pooler\.",
    "classifier": r"classifier\.",
    "head: transform": r"head\.(w|b|gamma|beta)$",
    "head: output": r"head\.b_decoder",  # its matrix is the token table
}

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
        `Encoder`, `SequenceClassifier`, `TokenClassifier` or `MaskedLM`.
    config : EncoderConfig
        Of a model that a Hugging Face folder can hold. Dropout above 0 costs memory in training.
    batch_size, seq_len : int
        B and T; nothing is padding.
    pooler : bool
        Count a pooler on an `Encoder`: here it has none, but Hugging Face's BertModel has one, and
        the published counts include it.

    Raises
    ------
    InputError
        If the sequence is longer than max_len, or no Hugging Face folder can hold the model.
    """

    kind: type[Model]
    config: EncoderConfig
    batch_size: int = 1
    seq_len: int = 128
    pooler: bool = False

    def __post_init__(self) -> None:
        check_sizes(batch_size=self.batch_size, seq_len=self.seq_len)
        if self.seq_len > self.config.max_len:
            raise InputError(
                f"seq_len: got {self.seq_len}, expected at most max_len = {self.config.max_len}"
            )
        if self.pooler and self.kind is not Encoder:
            raise InputError(f"pooler: got True, expected False for {article(self.kind.__name__)}")
        write_config(self.config, self.kind, written_family(self.config))

    @property
    def tokens(self) -> int:
        """B T."""
        return self.batch_size * self.seq_len

    @property
    def num_classes(self) -> int:
        """C, or 0 without a classifier."""
        return self.config.num_classes if isinstance(self.config, ClassifierConfig) else 0

    @property
    def has_pooler(self) -> bool:
        """Tell whether a pooler counts."""
        return self.pooler or self.kind is SequenceClassifier


def count_parameters(work: Workload) -> dict[str, int]:
    """Return the numbers in the arrays of each part; the names are those of `PARTS`, in order."""
    shapes, d = dict(work.kind.shapes(work.config)), work.config.d_model
    if work.pooler:
        shapes |= {"pooler.w": (Axis("D", d),) * 2, "pooler.b": (Axis("D", d),)}
    counts = dict.fromkeys(PARTS, 0)
    for full, shape in shapes.items():
        name = full.removeprefix("encoder.")
        [part] = [part for part, pattern in PARTS.items() if re.match(pattern, name)]
        counts[part] += math.prod(sizes(shape))
    return counts


def count_multiply_adds(work: Workload) -> dict[str, int]:
    r"""Return the multiply-adds of each part in a forward pass over the batch.

    One is one step of one sum of a matrix product. With N = B T tokens a layer has

    .. math::
        \underbrace{4 N D^2}_{\text{projections}} +
        \underbrace{2 N T D}_{\text{scores and mix}} +
        \underbrace{2 N D F}_{\text{feed-forward}}

    Looking up embeddings has none, the map from narrow tables to the model's width has N E D;
    biases, norms, softmax and activations are no products. A pooler reads one token of a sequence,
    a masked-LM head is counted at every token.

    Backward has two products for each one of forward, so a training step has three times as many;
    with ``recompute`` those of the layers come a fourth time.
    """
    config, n, classes = work.config, work.tokens, work.num_classes
    d, e, f = config.d_model, config.table_width, config.d_ff
    counts = dict.fromkeys(PARTS, 0)
    if config.embedding_size is not None:
        counts["embeddings: projection"] = n * e * d
    counts["layers: projections"] = config.num_layers * n * 4 * d * d
    counts["layers: scores and mix"] = config.num_layers * n * 2 * work.seq_len * d
    counts["layers: feed-forward"] = config.num_layers * n * 2 * d * f
    if work.has_pooler:
        counts["pooler"] = work.batch_size * d * d
    if work.kind is SequenceClassifier:
        counts["classifier"] = work.batch_size * d * classes
    elif work.kind is TokenClassifier:
        counts["classifier"] = n * d * classes
    elif work.kind is MaskedLM:
        counts["head: transform"] = n * d * e
        counts["head: output"] = n * e * config.vocab_size
    return counts


def of_layers(costs: dict[str, int]) -> int:
    """Return the sum over the parts of the layers."""
    return sum(cost for part, cost in costs.items() if part.startswith("layers: "))


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


def published_speed_up(student: EncoderConfig, teacher: EncoderConfig) -> float | None:
    """Return how many times faster the student was measured to be; None for other pairs."""
    small, large = ((c.num_layers, c.d_model, c.d_ff) for c in (student, teacher))
    return PUBLISHED_SPEED_UP.get(small) if large == BERT_BASE else None
