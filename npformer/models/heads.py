"""What stands on an encoder: classifiers of sequences and of tokens."""

from dataclasses import dataclass
from typing import NamedTuple, Unpack

import numpy as np

from npformer.layers.output import ModelOutput, last_hidden, or_zeros
from npformer.layers.shapes import Axis, Shapes
from npformer.layers.stack import StackCache, StackOptions
from npformer.models.config import ClassifierConfig
from npformer.models.on_encoder import OnEncoder
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
from npformer.types import BoolArray, IntArray, Params, prefixed


class SequenceClassifierCache(NamedTuple):
    """What `SequenceClassifier.backward` needs."""

    encoder: StackCache
    pooler: LinearCache
    tanh: TanhCache | None
    relu: ReluCache | None
    dropout: DropoutCache
    classifier: LinearCache


@dataclass(frozen=True)
class SequenceClassifier(OnEncoder):
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

    @classmethod
    def head_shapes(cls, config: ClassifierConfig) -> Shapes:
        """Return name -> axes of the pooler and the classifier."""
        d, c = Axis("D", config.d_model), Axis("C", config.num_classes)
        shapes: Shapes = {"pooler.w": (d, d), "pooler.b": (d,)}
        return shapes | {"classifier.w": (d, c), "classifier.b": (c,)}

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
        dlast = np.zeros_like(cache.encoder.last)
        dlast[:, 0] = dcls
        _, grads = self.encoder.backward(doutput, cache.encoder, dlast)
        return None, g | prefixed("encoder", grads)


class TokenClassifierCache(NamedTuple):
    """What `TokenClassifier.backward` needs."""

    encoder: StackCache
    dropout: DropoutCache
    classifier: LinearCache


@dataclass(frozen=True)
class TokenClassifier(OnEncoder):
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

    @classmethod
    def head_shapes(cls, config: ClassifierConfig) -> Shapes:
        """Return name -> axes of the classifier."""
        d, c = Axis("D", config.d_model), Axis("C", config.num_classes)
        return {"classifier.w": (d, c), "classifier.b": (c,)}

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
