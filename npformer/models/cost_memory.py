"""What a BERT holds in memory, counted array by array from its configuration.

A cache keeps no copies, so each array counts once, with the part that made it. Everything is in
bytes of float32, of the whole batch.
"""

from dataclasses import replace
from typing import NamedTuple

from npformer.layers.attend import BLOCKWISE_FROM
from npformer.models.config import ClassifierConfig
from npformer.models.cost import PARTS, Workload, count_parameters, of_layers
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.masked_lm import MaskedLM

FLOAT = 4  # bytes of a float32
INT = 8  # bytes of an id

# Bytes that an activation keeps for each entry: x and Phi(x), tanh(u) or sigmoid(x); whether x > 0.
ACTIVATION_KEEPS = {"gelu": 2 * FLOAT, "gelu_tanh": 2 * FLOAT, "silu": 2 * FLOAT, "relu": 1}


class Memory(NamedTuple):
    """Bytes."""

    parameters: int  # on disk too, without the names of the arrays
    gradients: int
    optimizer: int  # Adam's two running means
    kept: int  # what a forward leaves for its backward, its outputs included
    recomputed: int  # the same with recompute=True: what enters each layer, one layer's arrays
    prediction: int  # activations at the peak of a forward that keeps nothing

    @property
    def training(self) -> int:
        """What a training step holds at least; backward's own arrays come on top.

        They are about as many as one layer keeps, and further shards have gradients of their own.
        """
        return self.parameters + self.gradients + self.optimizer + self.kept

    @property
    def training_recomputed(self) -> int:
        """The same with recompute=True."""
        return self.training - self.kept + self.recomputed


def count_memory(work: Workload) -> Memory:
    """Return what a model needs."""
    parameters = FLOAT * sum(count_parameters(work).values())
    kept = count_kept(work)
    whole, layers, num_layers = sum(kept.values()), of_layers(kept), work.config.num_layers
    outputs = num_layers * FLOAT * work.tokens * work.config.d_model
    return Memory(
        parameters=parameters,
        gradients=parameters,
        optimizer=2 * parameters,
        kept=whole,
        recomputed=whole - layers + outputs + layers // num_layers,
        prediction=_prediction(work),
    )


def count_kept(work: Workload) -> dict[str, int]:
    """Return what each part keeps for backward; the names are those of `PARTS`, in order.

    It grows with B T, but for the probabilities of attention, which grow with B T^2, until
    attention goes block by block.
    """
    config, n, classes = work.config, work.tokens, work.num_classes
    wide = FLOAT * n * config.d_model  # an array (B, T, D)
    narrow = FLOAT * n * config.table_width  # an array (B, T, E)
    column = FLOAT * n  # an array (B, T, 1)
    pooled = FLOAT * work.batch_size * config.d_model  # an array (B, D)
    mask = wide if config.dropout > 0 else 0
    keeps = ACTIVATION_KEEPS[config.activation]
    norm = 2 * wide + column  # xhat, y, rstd
    narrow_norm = 2 * narrow + column

    kept = dict.fromkeys(PARTS, 0)
    kept["embeddings: token"] = INT * n
    kept["embeddings: segment"] = INT * n if config.num_segments else 0
    kept["embeddings: norm"] = narrow_norm + (narrow if mask else 0)
    if config.embedding_size is not None:
        kept["embeddings: projection"] = wide
    kept["layers: projections"] = config.num_layers * 4 * wide  # c q, k, v, the joined context
    kept["layers: scores and mix"] = config.num_layers * _attention_keeps(work)
    kept["layers: feed-forward"] = config.num_layers * (keeps + FLOAT) * n * config.d_ff
    kept["layers: norms"] = config.num_layers * 2 * (norm + mask)
    if work.has_pooler:
        tanh = not isinstance(config, ClassifierConfig) or config.tanh_pooler
        kept["pooler"] = pooled if tanh else 0
    if work.kind is SequenceClassifier:
        kept["classifier"] = FLOAT * work.batch_size * classes  # logits
        if mask:
            kept["classifier"] += 2 * pooled  # the mask, and what it left
        if isinstance(config, ClassifierConfig) and config.relu_before_classifier:
            # Where it is positive; and its output, if that is what the classifier saw.
            kept["pooler"] += pooled // FLOAT + (0 if mask else pooled)
    elif work.kind is TokenClassifier:
        kept["classifier"] = 2 * mask + column * classes
    elif work.kind is MaskedLM:
        kept["head: transform"] = keeps * n * config.table_width + narrow_norm
        kept["head: output"] = column * config.vocab_size  # logits
    return kept


def _attention_keeps(work: Workload) -> int:
    """Return what a layer keeps between its queries and its joined context."""
    config = work.config
    column = FLOAT * work.tokens * config.num_heads  # an array (B, H, T, 1)
    if work.seq_len**2 >= BLOCKWISE_FROM:
        return column + FLOAT * work.tokens * config.d_model  # lse, the context of each head
    # Probabilities; with dropout its mask, and what it left.
    return column * work.seq_len * (3 if config.attention_dropout > 0 else 1)


def _prediction(work: Workload) -> int:
    """Return the peak of activations without dropout and with recompute=True.

    The hidden states stay, for they are an output. The peak is in the last layer or, where
    there are many logits, in the head.
    """
    config = replace(work.config, dropout=0.0, attention_dropout=0.0)
    work = replace(work, config=config)
    kept = count_kept(work)
    wide = FLOAT * work.tokens * config.d_model
    narrow = FLOAT * work.tokens * config.table_width
    inner = FLOAT * work.tokens * config.d_ff  # an array (B, T, F)
    scores = _attention_keeps(work)
    activated = kept["layers: feed-forward"] // config.num_layers
    entered = inner if config.activation == "relu" else 0  # which does not keep its input
    last_layer = max(
        # The end of attention: q, c q, k, v, the context; scores, probabilities.
        5 * wide + 2 * scores,
        # The end of feed-forward: c q, k, v, the context, y, xhat, u, the result.
        8 * wide + scores + activated + entered,
        # The last norm: these and the sum, the centred sum, its square.
        11 * wide + scores + activated,
    )
    embeddings = sum(size for part, size in kept.items() if part.startswith("embeddings: "))
    head = sum(kept.values()) - embeddings - of_layers(kept)
    below = embeddings + (config.num_layers - 1) * wide
    # Beside what the head keeps: the last state, and what its activation gave.
    return below + max(last_layer, wide + narrow + head)
