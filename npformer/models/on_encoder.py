"""What all models on an encoder have in common: its arrays below ``encoder.``, and a head's."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.shapes import Shapes, draw
from npformer.models.encoder import Encoder
from npformer.types import Params, part, prefixed


@dataclass(frozen=True)
class OnEncoder:
    """An `Encoder` with a head, which the subclass adds.

    Parameters
    ----------
    config : EncoderConfig
    params : dict
        ``encoder.*`` and those of `head_shapes`.
    """

    config: Any
    params: Params

    @classmethod
    def head_shapes(cls, config: Any) -> Shapes:
        """Return name -> axes of the head."""
        raise NotImplementedError

    @classmethod
    def shapes(cls, config: Any) -> Shapes:
        """Return name -> axes."""
        return prefixed("encoder", Encoder.shapes(config)) | cls.head_shapes(config)

    @classmethod
    def init(cls, config: Any, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Self:
        """Draw weights from normal(0, initializer_range); biases start at zero."""
        return cls.on(config, Encoder.init(config, rng, dtype).params, rng, dtype)

    @classmethod
    def on(
        cls,
        config: Any,
        encoder: Params,
        rng: np.random.Generator,
        dtype: DTypeLike = np.float32,
    ) -> Self:
        """Put a new head on the weights of an encoder, which are copied."""
        copied = {name: a.astype(dtype) for name, a in encoder.items()}
        head = draw(cls.head_shapes(config), rng, dtype, std=config.initializer_range)
        return cls(config, prefixed("encoder", copied) | head)

    @property
    def encoder(self) -> Encoder:
        """The encoder, sharing this model's arrays."""
        return Encoder(self.config, part(self.params, "encoder"))
