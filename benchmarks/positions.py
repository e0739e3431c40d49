"""Which position encoding carries further: ``python -m benchmarks.positions``.

A decoder-only model reads random tokens and must say, at every place, the token that stood three
places back: all order, no statistics to lean on. It is trained on 32 tokens and measured on 32, 64 and 128; accuracy is of the last 16 places, so that
the longer test asks about places that training never saw. The same size, data, updates and rate for
every encoding; the median and the range over seeds.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np

from npformer.layers.init import initializer_range
from npformer.models import CausalLM, CausalLMConfig
from npformer.ops.losses import cross_entropy_backward, cross_entropy_forward
from npformer.optim import Adam, clip_by_global_norm, linear_schedule
from npformer.train.malloc import keep_freed_memory
from npformer.train.parallel import one_blas_thread
from npformer.types import IntArray

VOCAB, BACK, TRAINED, TESTED, LAST = 11, 3, 32, (32, 64, 128), 16

ENCODINGS: dict[str, dict[str, Any]] = {
    "none": {"positions": "none"},
    "sinusoidal": {"positions": "sinusoidal"},
    "learned": {"positions": "learned"},
    "shaw": {"positions": "none", "relative": "shaw", "relative_clip": 8},
    "t5": {"positions": "none", "relative": "t5"},
    "alibi": {"positions": "none", "relative": "alibi"},
    "rotary": {"positions": "none", "relative": "rotary"},
}


def places_back(rng: np.random.Generator, batch: int, length: int) -> tuple[IntArray, IntArray]:
    """Return tokens (B, T), and at each place the one asked for there."""
    ids = rng.integers(VOCAB, size=(batch, length))
    labels = np.full(ids.shape, -100)  # the first places have no token so far back
    labels[:, BACK:] = ids[:, :-BACK]
    return ids, labels


def train(encoding: str, seed: int, steps: int) -> CausalLM:
    """Train one model on 32 tokens."""
    config = CausalLMConfig(
        vocab_size=VOCAB,
        d_model=64,
        num_heads=4,
        d_ff=256,
        num_layers=2,
        max_len=max(TESTED),
        scale_embeddings=True,
        initializer_range=initializer_range(64),
        **ENCODINGS[encoding],
    )
    model = CausalLM.init(config, np.random.default_rng([seed, 0]))
    optimizer = Adam()
    state, rng = optimizer.init(model.params), np.random.default_rng([seed, 1])
    for step in range(steps):
        ids, labels = places_back(rng, 32, TRAINED)
        logits, cache = model.forward(ids)
        _, ce_cache = cross_entropy_forward(logits, labels)
        _, grads = model.backward(cross_entropy_backward(1.0, ce_cache), cache)
        clip_by_global_norm(grads, max_norm=1.0)
        rate = 2e-3 * linear_schedule(step, warmup=steps // 10, total=steps)
        optimizer.update(model.params, grads, state, rate)
    return model


def accuracy(model: CausalLM, length: int, seed: int) -> float:
    """Return the share of the last places that are right."""
    ids, labels = places_back(np.random.default_rng([seed, 2]), 100, length)
    logits, _ = model.forward(ids)
    right = logits.argmax(axis=-1) == labels
    return float(right[:, -LAST:].mean())


def draw(table: dict[str, list[list[float]]], path: Path) -> None:
    """Draw the medians against the length, one line an encoding."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from npformer.plot import plot_accuracy

    curves = {
        name: [(n, statistics.median(runs)) for n, runs in zip(TESTED, rows, strict=True)]
        for name, rows in table.items()
    }
    figure = Figure((8.0, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    ax = plot_accuracy(curves, ax=figure.subplots())
    ax.set_xscale("log", base=2)
    ax.set_xticks(TESTED, [str(n) for n in TESTED])
    ax.set_xlabel("tokens")
    ax.set_title(f"Trained on {TRAINED} tokens: accuracy of the last {LAST} places")
    figure.savefig(path, dpi=110)


def main() -> int:
    """Print one line an encoding."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.positions")
    parser.add_argument("--seeds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--steps", type=int, default=500, help="updates; default %(default)s")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw the medians")
    args = parser.parse_args()
    keep_freed_memory()
    table: dict[str, list[list[float]]] = {}
    print(f"{'encoding':>12}" + "".join(f"{n:>25}" for n in TESTED))
    with one_blas_thread():
        for encoding in ENCODINGS:
            models = [train(encoding, seed, args.steps) for seed in range(args.seeds)]
            rows = [[accuracy(m, n, seed) for seed, m in enumerate(models)] for n in TESTED]
            table[encoding] = rows
            cells = (
                f"{statistics.median(r):.3f} ({min(r):.3f} to {max(r):.3f})".rjust(25) for r in rows
            )
            print(f"{encoding:>12}" + "".join(cells), flush=True)
    if args.figure is not None:
        draw(table, args.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
