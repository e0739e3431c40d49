"""The decoder-only language model: encoder blocks under a causal mask, as GPT-2."""

from dataclasses import dataclass
from typing import NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import check_shape
from npformer.layers.seeds import generator_of, layer_seeds
from npformer.layers.shapes import Shapes
from npformer.layers.stack import Stack, StackCache, StackOptions
from npformer.layers.token_embeddings import TokenEmbeddings, TokenEmbeddingsCache
from npformer.models.config import CausalLMConfig
from npformer.models.decoding import Decoding
from npformer.models.output import (
    ModelOutput,
    RowsCache,
    model_output,
    or_zeros,
    rows_backward,
    rows_forward,
    stack_cotangent,
)
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed

TABLE = "embeddings.token"


class CausalLMCache(NamedTuple):
    """What `CausalLM.backward` needs."""

    embeddings: TokenEmbeddingsCache
    stack: StackCache
    rows: RowsCache
    output: LinearCache


@dataclass(frozen=True)
class CausalLM:
    r"""A language model: at every position the logits of the token that follows.

    .. math:: h_0 = \operatorname{embeddings}(\mathrm{ids}), \quad
              h_l = \operatorname{block}_l(h_{l-1}) \text{ under the causal mask}, \quad
              \mathrm{logits} = \operatorname{layernorm}(h_L)\,E^\top

    A decoder without an encoder has nothing to look over to, so its block is an encoder block
    that may not look ahead. The table E is used twice: its gradient is the sum of two.

    Parameters
    ----------
    config : CausalLMConfig
    params : dict
        ``embeddings.*`` and those of the `Stack`: ``layers.0.*`` ..., with ``norm_first`` also
        ``norm.*``, and what relative positions have once for all layers.

    References
    ----------
    Radford et al. 2019, "Language models are unsupervised multitask learners", section 2.3.
    Deviations: the exact GELU in place of the tanh formula of the released code.
    """

    config: CausalLMConfig
    params: Params

    @classmethod
    def shapes(cls, config: CausalLMConfig) -> Shapes:
        """Return name -> axes."""
        stack = Stack.shapes(config, config.num_layers)
        return prefixed("embeddings", TokenEmbeddings.shapes(config)) | stack

    @classmethod
    def init(
        cls, config: CausalLMConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        embeddings = TokenEmbeddings.init(config, rng, dtype).params
        stack = Stack.init(config, config.num_layers, rng, dtype).params
        return cls(config, prefixed("embeddings", embeddings) | stack)

    @property
    def _embeddings(self) -> TokenEmbeddings:
        return TokenEmbeddings(self.config, part(self.params, "embeddings"))

    @property
    def _stack(self) -> Stack:
        return Stack(self.config, self.params, self.config.num_layers, causal=True)

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        *,
        positions: IntArray | None = None,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, CausalLMCache]:
        """Predict, at every position, the token that follows.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        keep : boolean ndarray of shape (B, T), optional
            True = real token; default all.
        positions : integer ndarray of shape (P,), optional
            Where to predict, as indices into the B * T tokens in order; default everywhere.
        rng : numpy.random.Generator, optional
            None means no dropout.
        **options
            As in `Encoder.forward`.

        Returns
        -------
        output : ModelOutput
            Logits of shape (B, T, V), or (P, V) at the positions asked for.
        cache : CausalLMCache

        Raises
        ------
        InputError
            If an id is outside the vocabulary or T exceeds max_len.
        """
        check_shape("ids", ids, ("B", "T"))
        seed, *seeds = layer_seeds(rng, self.config.num_layers + 1)
        x, embeddings = self._embeddings.forward(ids, rng=generator_of(seed))
        states, stack = self._stack.forward(x, keep, seeds=seeds, **options)
        read, rows = rows_forward(stack.last, positions)  # (P, D) or (B, T, D)
        logits, output = linear_forward(read, self.params[TABLE].T)  # (P, V) or (B, T, V)
        return model_output(states, logits), CausalLMCache(embeddings, stack, rows, output)

    def backward(self, doutput: ModelOutput, cache: CausalLMCache) -> tuple[None, Params]:
        """Undo `forward`; gradients enter at the logits, every hidden state, score and value."""
        read = cache.output.x  # (P, D) or (B, T, D)
        shape = (*read.shape[:-1], self.config.vocab_size)
        dlogits = or_zeros(doutput.logits, shape, read.dtype)
        dread, dtable, _ = linear_backward(dlogits, cache.output)
        dlast = rows_backward(dread, cache.rows)  # (B, T, D)
        (dx, _), g = self._stack.backward(stack_cotangent(doutput), cache.stack, dlast)
        _, grads = self._embeddings.backward(dx, cache.embeddings)
        g |= prefixed("embeddings", grads)
        g[TABLE] = g[TABLE] + dtable.T  # tied
        return None, g

    def start(self, source: IntArray, keep: BoolArray | None = None) -> Decoding:
        """Return the state before the first token of B texts, of which there is nothing to read."""
        return Decoding(self._stack.no_past(len(source), self.params[TABLE].dtype))

    def step(self, ids: IntArray, state: Decoding) -> tuple[FloatArray, Decoding]:
        """Go on with further tokens.

        What `forward` computes for its last position, with the work of these tokens alone: the
        keys and values of the tokens before come from the state.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
            A prompt at once, or (B, 1).
        state : Decoding

        Returns
        -------
        logits : ndarray of shape (B, V)
            Of the token after the last.
        state : Decoding
            With these tokens; the one given is left as it was.

        Raises
        ------
        InputError
            If the text would be longer than max_len or an id is outside the vocabulary.
        """
        x, _ = self._embeddings.forward(ids, state.length)
        states, stack = self._stack.forward(x, past=state.layers)
        logits, _ = linear_forward(stack.last[:, -1], self.params[TABLE].T)  # (B, V)
        return logits, Decoding(states.past or ())
