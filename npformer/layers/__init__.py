"""Part II, layers: parameters and composition, no new calculus."""

from npformer.layers.attention import (
    AttentionOutput,
    MultiHeadAttention,
    MultiHeadAttentionCache,
)
from npformer.layers.attention_config import AttentionConfig
from npformer.layers.block import BlockCache, BlockConfig, EncoderBlock
from npformer.layers.config import Config
from npformer.layers.decoder_block import DecoderBlock, DecoderBlockCache
from npformer.layers.embeddings import Embeddings, EmbeddingsCache, EmbeddingsConfig
from npformer.layers.feedforward import FeedForward, FeedForwardCache, FeedForwardConfig
from npformer.layers.token_embeddings import (
    TokenEmbeddings,
    TokenEmbeddingsCache,
    TokenEmbeddingsConfig,
)

__all__ = [
    "AttentionConfig",
    "AttentionOutput",
    "BlockCache",
    "BlockConfig",
    "Config",
    "DecoderBlock",
    "DecoderBlockCache",
    "Embeddings",
    "EmbeddingsCache",
    "EmbeddingsConfig",
    "EncoderBlock",
    "FeedForward",
    "FeedForwardCache",
    "FeedForwardConfig",
    "MultiHeadAttention",
    "MultiHeadAttentionCache",
    "TokenEmbeddings",
    "TokenEmbeddingsCache",
    "TokenEmbeddingsConfig",
]
