"""npformer: Transformers and their distillation in NumPy, every gradient written by hand.

The tree is the table of contents of a course:

* Part I, `npformer.ops`, the calculus: pure function pairs, ``x_forward`` and ``x_backward``;
* Part II, `npformer.layers`, parameters and composition;
* Part III, `npformer.models`, encoders, decoders and their heads;
* Part IV, `npformer.train`, the loop and what it needs;
* Part V, `npformer.distill`, TinyBERT;
* Part VII, `npformer.exercises`, to learn by doing;
* Part VIII, `npformer.cli`, the command line.

Beside them: `npformer.gradcheck`, the referee, `npformer.selfcheck`, what it is shown,
`npformer.optim` and `npformer.data`.
"""

from npformer import gradcheck, layers, models, ops, optim
from npformer.checks import InputError
from npformer.gradcheck import GradientError, check_model, check_pair, numeric_gradient
from npformer.layers import (
    AttentionConfig,
    AttentionOutput,
    BlockConfig,
    DecoderBlock,
    Embeddings,
    EmbeddingsConfig,
    EncoderBlock,
    FeedForward,
    FeedForwardConfig,
    MultiHeadAttention,
)
from npformer.models import (
    CausalLM,
    CausalLMConfig,
    ClassifierConfig,
    Encoder,
    EncoderConfig,
    MaskedLM,
    ModelOutput,
    Seq2Seq,
    Seq2SeqConfig,
    SequenceClassifier,
    TokenClassifier,
    preset,
)
from npformer.optim import Adam, AdamW, BertAdam, Sgd

__version__ = "0.1.0"

__all__ = [
    "Adam",
    "AdamW",
    "AttentionConfig",
    "AttentionOutput",
    "BertAdam",
    "BlockConfig",
    "CausalLM",
    "CausalLMConfig",
    "ClassifierConfig",
    "DecoderBlock",
    "Embeddings",
    "EmbeddingsConfig",
    "Encoder",
    "EncoderBlock",
    "EncoderConfig",
    "FeedForward",
    "FeedForwardConfig",
    "GradientError",
    "InputError",
    "MaskedLM",
    "ModelOutput",
    "MultiHeadAttention",
    "Seq2Seq",
    "Seq2SeqConfig",
    "SequenceClassifier",
    "Sgd",
    "TokenClassifier",
    "check_model",
    "check_pair",
    "gradcheck",
    "layers",
    "models",
    "numeric_gradient",
    "ops",
    "optim",
    "preset",
]
