"""What the KV cache brings: ``python -m benchmarks.generation``.

Greedy decoding of targets of a given length by a Transformer of the original paper's base size,
with the KV cache and by decoding the whole target again for every token; both in one process, in
turns, BLAS as it comes. The two must choose the same tokens, or nothing is printed.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from npformer.layers.output import last_hidden
from npformer.models import Seq2Seq, Seq2SeqConfig
from npformer.train.malloc import keep_freed_memory
from npformer.types import IntArray


def cached(model: Seq2Seq, source: IntArray, length: int) -> IntArray:
    """Decode with the KV cache; token 0 starts."""
    state = model.start(source)
    ids = np.zeros((len(source), 1), int)
    for _ in range(length):
        logits, state = model.step(ids[:, -1:], state)
        ids = np.concatenate((ids, logits.argmax(axis=-1)[:, None]), axis=1)
    return ids


def recomputed(model: Seq2Seq, source: IntArray, length: int) -> IntArray:
    """Decode the whole target for every token."""
    memory = last_hidden(model.encode(source)[0])
    ids = np.zeros((len(source), 1), int)
    for _ in range(length):
        output, _ = model.decode(ids, memory)
        assert output.logits is not None
        ids = np.concatenate((ids, output.logits[:, -1].argmax(axis=-1)[:, None]), axis=1)
    return ids


def main() -> int:
    """Time both ways at each length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--d-model", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--vocab", type=int, default=8000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    keep_freed_memory()
    rng = np.random.default_rng(0)
    config = Seq2SeqConfig(
        vocab_size=args.vocab,
        target_vocab_size=args.vocab,
        shared_embeddings=True,
        d_model=args.d_model,
        num_heads=args.d_model // 64,
        d_ff=4 * args.d_model,
        max_len=max(args.lengths) + 1,
        num_encoder_layers=args.layers,
        num_decoder_layers=args.layers,
    )
    model = Seq2Seq.init(config, rng)
    ways: tuple[Callable[[Seq2Seq, IntArray, int], IntArray], ...] = (cached, recomputed)
    for length in args.lengths:
        source = rng.integers(0, args.vocab, (args.batch, length))
        rounds = []
        for _ in range(args.rounds):
            seconds, found = [], []
            for way in ways:
                start = time.perf_counter()
                found.append(way(model, source, length))
                seconds.append(time.perf_counter() - start)
            np.testing.assert_array_equal(found[0], found[1])
            rounds.append(seconds)
        with_cache, without = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratio = statistics.median(b / a for a, b in rounds)
        print(
            f"{args.batch} x {length:4}  cached {with_cache:7.2f} s  recomputed {without:7.2f} s"
            f"  {ratio:5.1f} times",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
