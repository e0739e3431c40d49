"""Where blockwise attention overtakes the plain one: ``python -m benchmarks.long_sequences``.

Forward and backward of attention alone, 12 heads of 64, one thread, in turns; minimum of the
rounds. Memory is what a pass holds at most beyond its inputs.
"""

import argparse
import os
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np

from npformer import ops
from npformer.types import FloatArray

HEADS, HEAD_SIZE = 12, 64
MIB = 2**20

Pass = Callable[[], None]  # one forward and backward


def passes(batch: int, length: int, p_drop: float, blocks: list[int]) -> dict[str, Pass]:
    """Return forward and backward, plain and with each size of block."""
    rng = np.random.default_rng(0)

    def heads() -> FloatArray:  # (B, H, T, K) as a layer makes them: a view of (B, T, D)
        shape = batch, length, HEADS, HEAD_SIZE
        return rng.standard_normal(shape, dtype=np.float32).transpose(0, 2, 1, 3)

    q, k, v, dctx = (heads() for _ in range(4))

    def plain() -> None:
        *_, cache = ops.attention_forward(q, k, v, p_drop=p_drop, rng=np.random.default_rng(1))
        del _  # the scores, which a layer keeps only where asked for
        ops.attention_backward(dctx, None, cache)

    def blockwise(block: int) -> None:
        _, cache = ops.blockwise_attention_forward(
            q, k, v, p_drop=p_drop, rng=np.random.default_rng(1), block=block
        )
        ops.blockwise_attention_backward(dctx, cache)

    return {"plain": plain} | {f"blocks of {n}": partial(blockwise, n) for n in blocks}


def seconds(run: Pass) -> float:
    """Time one pass."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak(run: Pass) -> int:
    """Return the most bytes that a pass holds."""
    tracemalloc.start()
    run()
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return highest


def main() -> None:
    """Print one line for each batch, length and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--blocks", type=int, nargs="+", default=[512])
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="as the commands: keep freed memory")
    args = parser.parse_args()
    from threadpoolctl import threadpool_limits

    from npformer.train.malloc import keep_freed_memory

    kept = args.keep and keep_freed_memory()
    print(f"freed memory kept: {kept}; OPENBLAS_CORETYPE={os.environ.get('OPENBLAS_CORETYPE')}")
    for batch in args.batches:
        for length in args.lengths:
            ways = passes(batch, length, args.dropout, args.blocks)
            with threadpool_limits(1, "blas"):
                rounds = [[seconds(run) for run in ways.values()] for _ in range(args.rounds)]
            best = np.min(rounds, axis=0)
            for name, run, took in zip(ways, ways.values(), best, strict=True):
                print(
                    f"{batch} x {length:4}  {name:14} {took * 1e3:8.1f} ms {took / best[0]:5.2f}"
                    f"  {peak(run) / MIB:7.0f} MiB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
