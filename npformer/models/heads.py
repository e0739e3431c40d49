"""What stands on an encoder: classifiers of sequences and of tokens."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.init import normal
from npformer.models.config import ClassifierConfig
from npformer.models.encoder import Encoder, EncoderCache
from npformer.models.output import ModelOutput, add_outputs, last_hidden
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
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed


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
        d, std = config.d_model, config.initializer_range
        params = {
            **prefixed("encoder", {name: a.astype(dtype) for name, a in encoder.items()}),
            "pooler.w": normal(rng, d, d, std=std, dtype=dtype),
            "pooler.b": np.zeros(d, dtype),
            "classifier.w": normal(rng, d, config.num_classes, std=std, dtype=dtype),
            "classifier.b": np.zeros(config.num_classes, dtype),
        }
        return cls(config, params)

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
        output_scores: bool = False,
        recompute: bool = False,
    ) -> tuple[ModelOutput, SequenceClassifierCache]:
        """Classify a batch: arguments as in `Encoder.forward`, logits of shape (B, C)."""
        p = self.params
        rngs = [None, None] if rng is None else rng.spawn(2)
        output, encoder_cache = self.encoder.forward(
            ids, keep, segments, rng=rngs[0], output_scores=output_scores, recompute=recompute
        )
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
        dlogits = doutput.logits
        if dlogits is None:
            batch, classes = len(cache.classifier.x), self.config.num_classes
            dlogits = np.zeros((batch, classes), cache.classifier.x.dtype)
        ddropped, g["classifier.w"], g["classifier.b"] = linear_backward(
            dlogits, cache.classifier
        )  # (B, D)
        dx = dropout_backward(ddropped, cache.dropout)
        if cache.relu is not None:
            dx = relu_backward(dx, cache.relu)
        if cache.tanh is not None:
            dx = tanh_backward(dx, cache.tanh)
        dcls, g["pooler.w"], g["pooler.b"] = linear_backward(dx, cache.pooler)
        dlast = np.zeros_like(cache.encoder.last)
        dlast[:, 0] = dcls
        dencoder = add_outputs(doutput._replace(logits=None), self._at_last(dlast))
        _, grads = self.encoder.backward(dencoder, cache.encoder)
        return None, g | prefixed("encoder", grads)

    def _at_last(self, dlast: FloatArray) -> ModelOutput:
        return ModelOutput(hidden=(*(None,) * self.config.num_layers, dlast))


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
    def init(
        cls, config: ClassifierConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights from normal(0, initializer_range); biases start at zero."""
        std, classes = config.initializer_range, config.num_classes
        params = {
            **prefixed("encoder", Encoder.init(config, rng, dtype).params),
            "classifier.w": normal(rng, config.d_model, classes, std=std, dtype=dtype),
            "classifier.b": np.zeros(classes, dtype),
        }
        return cls(config, params)

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
        output_scores: bool = False,
        recompute: bool = False,
    ) -> tuple[ModelOutput, TokenClassifierCache]:
        """Classify every token: arguments as in `Encoder.forward`, logits (B, T, C)."""
        p = self.params
        rngs = [None, None] if rng is None else rng.spawn(2)
        output, encoder_cache = self.encoder.forward(
            ids, keep, segments, rng=rngs[0], output_scores=output_scores, recompute=recompute
        )
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
        dlogits = doutput.logits
        if dlogits is None:
            rows = cache.classifier.x.shape[:2]
            dlogits = np.zeros((*rows, self.config.num_classes), cache.classifier.x.dtype)
        ddropped, g["classifier.w"], g["classifier.b"] = linear_backward(
            dlogits, cache.classifier
        )  # (B, T, D)
        dlast = dropout_backward(ddropped, cache.dropout)
        at_last = ModelOutput(hidden=(*(None,) * self.config.num_layers, dlast))
        dencoder = add_outputs(doutput._replace(logits=None), at_last)
        _, grads = self.encoder.backward(dencoder, cache.encoder)
        return None, g | prefixed("encoder", grads)
