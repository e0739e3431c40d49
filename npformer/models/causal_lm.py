"""The decoder-only language model: encoder blocks under a causal mask, as GPT-2."""

from dataclasses import dataclass
from typing import NamedTuple, Self, Unpack

import numpy as np
from numpy.typing import DTypeLike

from npformer.layers.output import ModelOutput, RowsCache, or_zeros, rows_backward, rows_forward
from npformer.layers.shapes import Shapes
from npformer.layers.stack import Stack, StackCache, StackOptions
from npformer.models.config import CausalLMConfig
from npformer.models.decoding import Decoding
from npformer.ops.linear import LinearCache, linear_backward, linear_forward
from npformer.types import BoolArray, FloatArray, IntArray, Params

TABLE = "embeddings.token"


class CausalLMCache(NamedTuple):
    """What `CausalLM.backward` needs."""

    stack: StackCache
    rows: RowsCache
    output: LinearCache


class CausalStack(Stack):
    """A stack in which a token sees none after itself."""

    causal = True


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
        """Return name -> axes; the output matrix is the token table."""
        return CausalStack.shapes(config)

    @classmethod
    def init(
        cls, config: CausalLMConfig, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        return cls(config, CausalStack.init(config, rng, dtype).params)

    @property
    def _stack(self) -> CausalStack:
        return CausalStack(self.config, self.params)

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
        states, stack = self._stack.forward(ids, keep, rng=rng, **options)
        read, rows = rows_forward(stack.last, positions)  # (P, D) or (B, T, D)
        logits, output = linear_forward(read, self.params[TABLE].T)  # (P, V) or (B, T, V)
        return states._replace(logits=logits), CausalLMCache(stack, rows, output)

    def backward(self, doutput: ModelOutput, cache: CausalLMCache) -> tuple[None, Params]:
        """Undo `forward`; gradients enter at the logits, every hidden state, score and value."""
        read = cache.output.x  # (P, D) or (B, T, D)
        shape = (*read.shape[:-1], self.config.vocab_size)
        dlogits = or_zeros(doutput.logits, shape, read.dtype)
        dread, dtable, _ = linear_backward(dlogits, cache.output)
        dlast = rows_backward(dread, cache.rows)  # (B, T, D)
        _, g = self._stack.backward(doutput, cache.stack, dlast)
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
        states, stack = self._stack.forward(ids, past=state.layers)
        logits, _ = linear_forward(stack.last[:, -1], self.params[TABLE].T)  # (B, V)
        return logits, Decoding(states.past or ())
