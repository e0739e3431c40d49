"""A stack: embeddings, L blocks one on the other and, with pre-LN, a norm at the end."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self, TypedDict, Unpack

import numpy as np
from numpy.random import SeedSequence
from numpy.typing import DTypeLike

from npformer.checks import InputError, check_shape
from npformer.layers.block import BlockOutput, EncoderBlock
from npformer.layers.decoder_block import DecoderBlock
from npformer.layers.embeddings import Embeddings
from npformer.layers.masks import causal_keep, expand_keep, unless_all
from npformer.layers.norm import Norm, NormCache
from npformer.layers.output import Each, ModelOutput
from npformer.layers.relative import SCHEMES, Scheme
from npformer.layers.seeds import generator_of, layer_seeds
from npformer.layers.shapes import Shapes, draw
from npformer.layers.token_embeddings import TokenEmbeddings
from npformer.types import BoolArray, FloatArray, IntArray, Params, part, prefixed

Maybe = FloatArray | None


class StackOptions(TypedDict, total=False):
    """What may be asked of `Stack.forward`, and so of every model's; all are off by default."""

    output_scores: bool  # give the attention scores of every layer
    output_values: bool  # and the values
    recompute: bool  # keep only what enters each block; backward runs the block's forward again


class BlockInputs(NamedTuple):
    """What it takes to run a block's forward again: kept in the place of its cache."""

    x: FloatArray  # (B, T, D)
    others: tuple[Any, ...]  # the memory, the masks, what the layers share
    seed: SeedSequence | None  # of the dropout masks; each run makes a generator of its own
    options: dict[str, Any]


class StackCache(NamedTuple):
    """What `Stack.backward` needs."""

    embeddings: Any
    shared: Any  # of the scheme's `shared_forward`
    blocks: tuple[Any, ...]  # L times the block's cache, or BlockInputs
    norm: NormCache | None  # the final norm of pre-LN
    last: FloatArray  # (B, T, D) hidden[L]


@dataclass(frozen=True)
class Stack:
    r"""Embeddings and L blocks, open to gradients at every hidden state, score and value.

    .. math:: h_0 = \operatorname{embeddings}(\mathrm{ids}), \qquad
              h_l = \operatorname{block}_l(h_{l-1})

    and with ``norm_first`` a final norm, after which h_L is taken. A subclass says which
    embeddings and blocks, and whether it is causal: then a token sees none after itself.

    Parameters
    ----------
    config : BlockConfig
        With the sizes of the embeddings.
    params : dict
        ``embeddings.*``, ``layers.0.*`` ... ``layers.{L-1}.*``, what the scheme of relative
        positions has once, and with ``norm_first`` ``norm.*``.

    References
    ----------
    Xiong et al. 2020, "On layer normalization in the Transformer architecture", for the final
    norm of pre-LN.
    """

    config: Any
    params: Params

    embeddings: ClassVar[type[Embeddings] | type[TokenEmbeddings]] = TokenEmbeddings
    block: ClassVar[type[EncoderBlock] | type[DecoderBlock]] = EncoderBlock
    causal: ClassVar[bool] = False
    depth: ClassVar[str] = "num_layers"  # the field of the configuration that says L

    @classmethod
    def shapes(cls, config: Any) -> Shapes:
        """Return name -> axes."""
        return prefixed("embeddings", cls.embeddings.shapes(config)) | cls.body_shapes(config)

    @classmethod
    def body_shapes(cls, config: Any) -> Shapes:
        """Return name -> axes of all but the embeddings."""
        one, shapes = cls.block.shapes(config), Shapes()
        for i in range(getattr(config, cls.depth)):
            shapes |= prefixed(f"layers.{i}", one)
        shapes |= SCHEMES[config.relative].stack_shapes(config)
        return shapes | (prefixed("norm", Norm.shapes(config)) if config.norm_first else {})

    @classmethod
    def init(cls, config: Any, rng: np.random.Generator, dtype: DTypeLike = np.float32) -> Self:
        """Draw weights; biases start at zero, norms as gamma = 1, beta = 0."""
        embeddings = cls.embeddings.init(config, rng, dtype).params
        body = draw(cls.body_shapes(config), rng, dtype, std=config.initializer_range)
        return cls(config, prefixed("embeddings", embeddings) | body)

    @property
    def _embeddings(self) -> Any:
        return self.embeddings(self.config, part(self.params, "embeddings"))

    def _block(self, i: int) -> Any:
        return self.block(self.config, part(self.params, f"layers.{i}"))

    @property
    def _norm(self) -> Norm:
        return Norm(self.config, part(self.params, "norm"))

    @property
    def _scheme(self) -> Scheme:
        return SCHEMES[self.config.relative](self.config, self.params)

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        memory: FloatArray | None = None,
        memory_keep: BoolArray | None = None,
        past: tuple[Any, ...] | None = None,
        rng: np.random.Generator | None = None,
        **options: Unpack[StackOptions],
    ) -> tuple[ModelOutput, StackCache]:
        """Embed a batch and apply the layers.

        Parameters
        ----------
        ids : integer ndarray of shape (B, T)
        keep : boolean ndarray of shape (B, T), optional
            True = real token; default all.
        segments : integer ndarray of shape (B, T), optional
            Of an encoder; default all 0.
        memory : ndarray of shape (B, S, D), optional
            What decoder blocks look at; not with a ``past``, which holds its keys and values.
        memory_keep : boolean ndarray of shape (B, S), optional
        past : tuple, optional
            L KV caches, of `no_past` or of an output; the tokens of ids come after theirs.
        rng : numpy.random.Generator, optional
            None means no dropout. Each layer gets a child of its own, so that its masks do
            not depend on what the layers before it drew.
        **options : bool
            ``output_scores``, ``output_values``: give those of every layer. ``recompute``: keep
            only what enters each block; backward runs the block's forward again. The same gradients
            bit by bit, the memory of one block's cache instead of L, one more forward
            (`python -m benchmarks.recomputation`). Without a backward it only saves.

        Returns
        -------
        output : ModelOutput
            hidden, and scores and values if asked for.
        cache : StackCache

        Raises
        ------
        InputError
            If an id is outside the vocabulary or T exceeds max_len.
        """
        check_shape("ids", ids, ("B", "T"))
        length, first, depth = ids.shape[1], past[0].length if past else 0, self._depth
        seed, *seeds = layer_seeds(rng, depth + 1)
        place = segments if self.embeddings is Embeddings else first
        x, embeddings = self._embeddings.forward(ids, place, rng=generator_of(seed))
        if keep is not None:
            check_shape("keep", keep, (len(ids), first + length))
        shared, shared_cache = self._scheme.shared_forward(
            length, first + length, offset=first, bidirectional=not self.causal
        )
        if self.causal:
            keep = causal_keep(keep, length, first)
        keep = unless_all(expand_keep(keep, len(ids), first + length))
        across = self.block is DecoderBlock
        others = (memory, keep, memory_keep, shared) if across else (keep, shared)
        recompute = options.pop("recompute", False)
        hidden, outputs, caches = [x], [], []
        for i in range(depth):
            inputs = BlockInputs(hidden[-1], others, seeds[i], dict(options))
            before = None if past is None else past[i]
            output, cache = self._block(i).forward(
                inputs.x, *others, past=before, rng=generator_of(seeds[i]), **options
            )
            hidden.append(output.y)
            outputs.append(output._replace(y=None))
            caches.append(inputs if recompute else cache)
            del output, cache  # or they would still be there while the next block makes its own
        norm = None
        if self.config.norm_first:
            hidden[-1], norm = self._norm.forward(hidden[-1])
        scores = options.get("output_scores", False)
        given = ModelOutput(
            tuple(hidden),
            tuple(o.scores for o in outputs) if scores else None,
            values=tuple(o.values for o in outputs) if options.get("output_values") else None,
            cross_scores=tuple(o.cross_scores for o in outputs) if scores and across else None,
            past=None if past is None else tuple(o.past for o in outputs),
        )
        return given, StackCache(embeddings, shared_cache, tuple(caches), norm, hidden[-1])

    def backward(
        self, doutput: ModelOutput, cache: StackCache, dlast: Maybe = None
    ) -> tuple[Maybe, Params]:
        """Undo `forward`; a gradient may come in at every hidden state, score and value.

        Parameters
        ----------
        doutput : ModelOutput
            None where silent.
        cache : StackCache
        dlast : ndarray of shape (B, T, D), optional
            What a head gives back for hidden[L], beside the cotangent that is in ``doutput``.

        Returns
        -------
        dmemory : ndarray of shape (B, S, D), or None
            A sum over the layers; None without a memory. Token ids have no gradient.
        grads : dict
            With the keys and shapes of ``params``.

        Raises
        ------
        InputError
            If there is not one cotangent (or None) for each hidden state, score and value.
        """
        depth = self._depth
        *dhidden, dtop = _entries("hidden", doutput.hidden, depth + 1)
        dscores = _entries("scores", doutput.scores, depth)
        dvalues = _entries("values", doutput.values, depth)
        dcross = _entries("cross_scores", doutput.cross_scores, depth)
        g: Params = {}
        given = [d for d in (dtop, dlast) if d is not None]
        dx: FloatArray = sum(given[1:], start=given[0]) if given else np.zeros_like(cache.last)
        if cache.norm is not None:
            dx, grads = self._norm.backward(dx, cache.norm)
            g |= prefixed("norm", grads)
        dmemory: Any = None
        dshared: list[Maybe] = []
        for i in reversed(range(depth)):
            block, block_cache = self._block(i), cache.blocks[i]
            if isinstance(block_cache, BlockInputs):
                x, others, seed, options = block_cache
                _, block_cache = block.forward(x, *others, rng=generator_of(seed), **options)
            (dx, *reads, dlayer), grads = block.backward(
                BlockOutput(dx, dscores[i], dvalues[i], dcross[i]), block_cache
            )
            g |= prefixed(f"layers.{i}", grads)
            dshared.append(dlayer)
            for dread in reads:  # of the memory
                dmemory = dread if dmemory is None else dmemory + dread
            below = dhidden[i]
            if below is not None:
                dx = dx + below
        g |= self._scheme.shared_backward(dshared, cache.shared)
        _, grads = self._embeddings.backward(dx, cache.embeddings)
        return dmemory, g | prefixed("embeddings", grads)

    @property
    def _depth(self) -> int:
        return int(getattr(self.config, self.depth))

    def no_past(self, *inputs: Any) -> tuple[Any, ...]:
        """Return the KV caches of targets that have no token yet; see the blocks' `no_past`."""
        return tuple(self._block(i).no_past(*inputs) for i in range(self._depth))


def _entries(name: str, given: Each | None, expected: int) -> Each:
    """Return a cotangent for each of so many outputs, None where silent."""
    if given is None:
        return (None,) * expected
    if len(given) != expected:
        raise InputError(f"{name}: got {len(given)} cotangents, expected {expected}")
    return given
