"""Which position encoding carries further: ``python -m benchmarks.positions``.

A decoder-only model is trained on 32 random tokens and measured on 32, 64 and 128. Two tasks, each
of which needs order at every place and has no statistics to lean on:

- "back": say the token that stood two places back. One exact distance, whatever the tokens are.
- "follower": say what followed this token when it last stood in the text. Content, the latest of
  several matches, and the place after it.

Accuracy is of the last 16 places, so that a longer test asks about places that training never saw.
The same size, data, updates and rate for every encoding; the median and the range over seeds. An
encoding that does not learn a task at 32 tokens shows nothing about longer ones, and where one seed
passes and another does not the table says so.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.arguments import names_of, new_file, positive
from npformer.layers.init import initializer_range
from npformer.models import CausalLM, CausalLMConfig, ModelOutput
from npformer.ops.losses import cross_entropy_backward, cross_entropy_forward
from npformer.optim import Adam, clip_by_global_norm, linear_schedule
from npformer.train.malloc import keep_freed_memory
from npformer.train.parallel import one_blas_thread
from npformer.types import IntArray

VOCAB, TRAINED, TESTED, LAST = 11, 32, (32, 64, 128), 16
LEARNT = 0.95  # from this accuracy on a seed passes
MARKERS = "osD^vPX*<>"

ENCODINGS: dict[str, dict[str, Any]] = {
    "none": {"positions": "none"},
    "sinusoidal": {"positions": "sinusoidal"},
    "learned": {"positions": "learned"},  # rows beyond 32 keep their initial values
    "shaw": {"positions": "none", "relative": "shaw", "relative_clip": 8},
    "t5": {"positions": "none", "relative": "t5"},
    # T5's own settings have buckets that 32 tokens never reach; these have not.
    "t5-near": {"positions": "none", "relative": "t5", "num_buckets": 16, "max_distance": 24},
    "alibi": {"positions": "none", "relative": "alibi"},
    "rotary": {"positions": "none", "relative": "rotary"},
    "deberta": {"positions": "none", "relative": "deberta", "relative_clip": 8},
}

Task = Callable[[np.random.Generator, int, int], tuple[IntArray, IntArray]]


def places_back(
    rng: np.random.Generator, batch: int, length: int, *, back: int
) -> tuple[IntArray, IntArray]:
    """Return tokens (B, T), and at each place the one asked for there, -100 where none is."""
    ids = rng.integers(VOCAB, size=(batch, length))
    labels = np.full(ids.shape, -100)
    labels[:, back:] = ids[:, :-back]
    return ids, labels


def last_follower(rng: np.random.Generator, batch: int, length: int) -> tuple[IntArray, IntArray]:
    """Return tokens (B, T), and what followed each when it last stood in the text before."""
    ids = rng.integers(VOCAB, size=(batch, length))
    labels = np.full(ids.shape, -100)
    rows, seen = np.arange(batch), np.full((batch, VOCAB), -1)  # where each token last stood
    for t in range(length):
        place = seen[rows, ids[:, t]]  # (B,)
        labels[:, t] = np.where(place >= 0, ids[rows, place + 1], -100)
        seen[rows, ids[:, t]] = t
    return ids, labels


def train(task: Task, encoding: str, seed: int, steps: int) -> CausalLM:
    """Train one model on 32 tokens."""
    config = CausalLMConfig(
        vocab_size=VOCAB,
        d_model=64,
        num_heads=4,
        d_ff=128,
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
        ids, labels = task(rng, 16, TRAINED)
        output, cache = model.forward(ids)
        assert output.logits is not None
        _, ce_cache = cross_entropy_forward(output.logits, labels)
        dlogits = cross_entropy_backward(1.0, ce_cache)
        _, grads = model.backward(ModelOutput(logits=dlogits), cache)
        clip_by_global_norm(grads, max_norm=1.0)
        rate = 2e-3 * linear_schedule(step, warmup=steps // 10, total=steps)
        optimizer.update(model.params, grads, state, rate)
    return model


def accuracy(task: Task, model: CausalLM, length: int, seed: int) -> float:
    """Return the share of the last places that are right."""
    ids, labels = task(np.random.default_rng([seed, 2]), 100, length)
    output, _ = model.forward(ids)
    assert output.logits is not None
    last, right = labels[:, -LAST:], (output.logits.argmax(axis=-1) == labels)[:, -LAST:]
    return float(right[last >= 0].mean())


def verdict(rows: Sequence[Sequence[float]]) -> str:
    """Say how far every seed passes; ``rows`` has the accuracies of each length in TESTED."""
    reach = "not learnt"
    for length, runs in zip(TESTED, rows, strict=True):
        passed = sum(run >= LEARNT for run in runs)
        if 0 < passed < len(runs):
            return f"{reach}; {passed} of {len(runs)} at {length}"
        if passed == 0:
            break
        reach = f"up to {length}"
    return reach


def measure(
    task: Task, encodings: Sequence[str], seeds: int, steps: int
) -> dict[str, list[list[float]]]:
    """Train and test every encoding, printing a line for each as soon as it is there."""
    table = {}
    width = 25
    print(f"{'encoding':>12}" + "".join(f"{n:>{width}}" for n in TESTED), end="")
    print(f"   all seeds at least {LEARNT}", flush=True)
    for encoding in encodings:
        models = [train(task, encoding, seed, steps) for seed in range(seeds)]
        rows = [[accuracy(task, m, n, seed) for seed, m in enumerate(models)] for n in TESTED]
        table[encoding] = rows
        cells = (
            f"{statistics.median(r):.3f} ({min(r):.3f} to {max(r):.3f})".rjust(width) for r in rows
        )
        print(f"{encoding:>12}" + "".join(cells) + f"   {verdict(rows)}", flush=True)
    return table


def draw(tables: Mapping[str, dict[str, list[list[float]]]], path: Path) -> None:
    """Draw the medians against the length and the range of the seeds, an axes a task."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from npformer.plot import plot_accuracy

    figure = Figure((1.5 + 4.5 * len(tables), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    [axes] = figure.subplots(1, len(tables), sharey=True, squeeze=False)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        curves = {
            encoding: [(n, statistics.median(runs)) for n, runs in zip(TESTED, rows, strict=True)]
            for encoding, rows in table.items()
        }
        plot_accuracy(curves, ax=ax)
        for i, (line, rows) in enumerate(zip(ax.get_lines(), table.values(), strict=True)):
            line.set(marker=MARKERS[i % len(MARKERS)], markersize=5)  # more lines than colours
            low, high = [min(runs) for runs in rows], [max(runs) for runs in rows]
            ax.fill_between(TESTED, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        ax.set_xscale("log", base=2)
        ax.set_xticks(TESTED, [str(n) for n in TESTED])
        ax.set_ylim(0.0, 1.03)
        ax.set_xlabel("tokens of the test")
        ax.set_title(f"{name}: trained on {TRAINED} tokens", size=10)
        ax.label_outer()
        ax.get_legend().remove()
    axes[0].set_ylabel(f"accuracy of the last {LAST} places")
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each task, a line for each encoding."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.positions")
    parser.add_argument("--seeds", type=positive, default=3, help="default %(default)s")
    parser.add_argument("--steps", type=positive, default=1500, help="updates (%(default)s)")
    parser.add_argument("--back", type=positive, default=2, help="the distance (%(default)s)")
    parser.add_argument("--tasks", type=names_of(["back", "follower"]), default="back,follower")
    parser.add_argument("--encodings", type=names_of(ENCODINGS), default=",".join(ENCODINGS))
    parser.add_argument("--figure", type=new_file, metavar="PNG", help="draw the medians")
    args = parser.parse_args(argv)
    tasks: dict[str, Task] = {
        "back": partial(places_back, back=args.back),
        "follower": last_follower,
    }
    keep_freed_memory()
    tables = {}
    with one_blas_thread():
        for name in args.tasks:
            says = f"the token {args.back} back" if name == "back" else "what followed it last time"
            print(f"{name}: {says}; {args.steps} updates, a guess is {1 / VOCAB:.3f} right")
            tables[name] = measure(tasks[name], args.encodings, args.seeds, args.steps)
            print()
    if args.figure is not None:
        draw(tables, args.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
