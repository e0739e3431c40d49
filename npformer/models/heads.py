"""What stands on an encoder: classifiers of sequences and of tokens."""

from dataclasses import dataclass
from typing import NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.shapes import Axis, Shapes, draw
from npformer.layers.stack import StackOptions
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder, EncoderCache
from npformer.models.output import ModelOutput, last_hidden, or_zeros
from npformer.ops.activations import (
    ReluCache,
    TanhCache,
    relu_backward,
    relu_forward,
    tanh_backward,
    tanh_forward,
)
from npformer.ops.dropout import DropoutCache, dropout_backward, dropout_forward
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, IntArray, Params, part, prefixed


class SequenceClassifierCache(NamedTuple):
    """What `SequenceClassifier.backward` needs."""

    encoder: EncoderCache
    pooler: LinearCache
    tanh: TanhCache | None
    relu: ReluCache | None
    dropout: DropoutCache
    classifier: LinearCache


@dataclass(frozen=True)
class SequenceClassifier:
    r"""An encoder, BERT's pooler, and an affine map: one row of logits for each sequence.

    .. math:: \mathrm{logits} = \operatorname{dropout}\bigl(
              \tanh(h_{L,[\mathrm{CLS}]} w_p + b_p)\bigr)\,w_c + b_c

    A regressor is the same with one column.

    Parameters
    ----------
    config : ClassifierConfig
        With ``relu_before_classifier`` a relu follows the tanh, as in TinyBERT's released
        code; without ``tanh_pooler`` it stands in its place, as in DistilBERT.
    params : dict
        ``encoder.*``, ``pooler.w`` (D, D), ``pooler.b`` (D,), ``classifier.w`` (D, C),
        ``classifier.b`` (C,).

    References
    ----------
    Devlin et al. 2019, "BERT", section 4.1; the pooler is in its released code.
    """

    config: ClassifierConfig
    params: Params

    @classmethod
    def shapes(cls, config: ClassifierConfig) -> Shapes:
        """Return name -> axes."""
        d, c = Axis("D", config.d_model), Axis("C", config.num_classes)
        head: Shapes = {"pooler.w": (d, d), "pooler.b": (d,)}
        head |= {"classifier.w": (d, c), "classifier.b": (c,)}
        return prefixed("encoder", Encoder.shapes(config)) | head

    @classmethod
    def init(
        cls, config: ClassifierConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights from normal(0, initializer_range); biases start at zero."""
        return cls.on(config, Encoder.init(config, rng, dtype).params, rng, dtype)

    @classmethod
    def on(
        cls,
        config: ClassifierConfig,
        encoder: Params,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> Self:
        """Put a new pooler and classifier on the weights of an encoder, which are copied."""
        return cls(config, on_encoder(cls.shapes(config), config, encoder, rng, dtype))

    @property
    def encoder(self) -> Encoder:
        """The encoder, sharing this model's arrays."""
        return Encoder(self.config, part(self.params, "encoder"))

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, SequenceClassifierCache]:
        """Classify a batch: arguments as in `Encoder.forward`, logits of shape (B, C)."""
        p = self.params
        rngs = [None, None] if rng is None else rng.spawn(2)
        output, encoder_cache = self.encoder.forward(ids, keep, segments, rng=rngs[0], **options)
        cls_state = last_hidden(output)[:, 0]  # (B, D)
        pooled, pooler_cache = linear_forward(cls_state, p["pooler.w"], p["pooler.b"])
        x, tanh_cache, relu_cache = pooled, None, None
        if self.config.tanh_pooler:
            x, tanh_cache = tanh_forward(x)
        if self.config.relu_before_classifier:
            x, relu_cache = relu_forward(x)
        dropped, dropout_cache = dropout_forward(x, self.config.head_dropout, rngs[1])
        logits, classifier_cache = linear_forward(
            dropped, p["classifier.w"], p["classifier.b"]
        )  # (B, C)
        return output._replace(logits=logits), SequenceClassifierCache(
            encoder_cache, pooler_cache, tanh_cache, relu_cache, dropout_cache, classifier_cache
        )

    def backward(self, doutput: ModelOutput, cache: SequenceClassifierCache) -> tuple[None, Params]:
        """Undo `forward`; gradients enter at the logits, every hidden state and every score."""
        g: Params = {}
        read = cache.classifier.x  # (B, D)
        dlogits = or_zeros(doutput.logits, (len(read), self.config.num_classes), read.dtype)
        ddropped, g["classifier.w"], g["classifier.b"] = linear_backward(
            dlogits, cache.classifier
        )  # (B, D)
        dx = dropout_backward(ddropped, cache.dropout)
        if cache.relu is not None:
            dx = relu_backward(dx, cache.relu)
        if cache.tanh is not None:
            dx = tanh_backward(dx, cache.tanh)
        dcls, g["pooler.w"], g["pooler.b"] = linear_backward(dx, cache.pooler)
        dlast = np.zeros_like(cache.encoder.stack.last)
        dlast[:, 0] = dcls
        _, grads = self.encoder.backward(doutput, cache.encoder, dlast)
        return None, g | prefixed("encoder", grads)


class TokenClassifierCache(NamedTuple):
    """What `TokenClassifier.backward` needs."""

    encoder: EncoderCache
    dropout: DropoutCache
    classifier: LinearCache


@dataclass(frozen=True)
class TokenClassifier:
    r"""An encoder and an affine map: one row of logits for each token.

    .. math:: \mathrm{logits}_{bt} = \operatorname{dropout}(h_{L,bt})\,w_c + b_c

    Parameters
    ----------
    config : ClassifierConfig
    params : dict
        ``encoder.*``, ``classifier.w`` (D, C), ``classifier.b`` (C,).

    References
    ----------
    Devlin et al. 2019, "BERT", section 5.3.
    """

    config: ClassifierConfig
    params: Params

    @classmethod
    def shapes(cls, config: ClassifierConfig) -> Shapes:
        """Return name -> axes."""
        d, c = Axis("D", config.d_model), Axis("C", config.num_classes)
        head: Shapes = {"classifier.w": (d, c), "classifier.b": (c,)}
        return prefixed("encoder", Encoder.shapes(config)) | head

    @classmethod
    def init(
        cls, config: ClassifierConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights from normal(0, initializer_range); biases start at zero."""
        encoder = Encoder.init(config, rng, dtype).params
        return cls(config, on_encoder(cls.shapes(config), config, encoder, rng, dtype))

    @property
    def encoder(self) -> Encoder:
        """The encoder, sharing this model's arrays."""
        return Encoder(self.config, part(self.params, "encoder"))

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, TokenClassifierCache]:
        """Classify every token: arguments as in `Encoder.forward`, logits (B, T, C)."""
        p = self.params
        rngs = [None, None] if rng is None else rng.spawn(2)
        output, encoder_cache = self.encoder.forward(ids, keep, segments, rng=rngs[0], **options)
        dropped, dropout_cache = dropout_forward(
            last_hidden(output), self.config.head_dropout, rngs[1]
        )
        logits, classifier_cache = linear_forward(
            dropped, p["classifier.w"], p["classifier.b"]
        )  # (B, T, C)
        cache = TokenClassifierCache(encoder_cache, dropout_cache, classifier_cache)
        return output._replace(logits=logits), cache

    def backward(self, doutput: ModelOutput, cache: TokenClassifierCache) -> tuple[None, Params]:
        """Undo `forward`; gradients enter at the logits, every hidden state and every score."""
        g: Params = {}
        read = cache.classifier.x  # (B, T, D)
        dlogits = or_zeros(doutput.logits, (*read.shape[:2], self.config.num_classes), read.dtype)
        ddropped, g["classifier.w"], g["classifier.b"] = linear_backward(
            dlogits, cache.classifier
        )  # (B, T, D)
        dlast = dropout_backward(ddropped, cache.dropout)
        _, grads = self.encoder.backward(doutput, cache.encoder, dlast)
        return None, g | prefixed("encoder", grads)


def on_encoder(
    shapes: Shapes,
    config: EncoderConfig,
    encoder: Params,
    rng: np.random.Generator,
    dtype: DTypeLike,
) -> Params:
    """Return the arrays of a model on these weights of an encoder: copied, and a head drawn."""
    head = {name: axes for name, axes in shapes.items() if not name.startswith("encoder.")}
    copied = {name: a.astype(dtype) for name, a in encoder.items()}
    drawn = draw(head, rng, dtype, std=config.initializer_range)
    return prefixed("encoder", copied) | drawn
