"""What recomputation saves and costs: ``python -m benchmarks.recomputation``.

Masked-LM training steps (dropout 0.1, AdamW) of BERT-base on 8 sequences of 512 tokens, each way
in a process of its own. The limit that ``--limit`` sets, in GiB, must hold with recomputation.
"""

import argparse
import json
import subprocess
import sys
import time
from functools import reduce

from benchmarks.memory import peak_memory

GIB = 2**30


def child(name: str, batch: int, length: int, steps: int, recompute: bool) -> None:
    """Train a few steps and print the shortest time and the peak memory."""
    import numpy as np

    from npformer import AdamW, MaskedLM, preset
    from npformer.data.batches import IGNORE, Batch
    from npformer.train.malloc import keep_freed_memory
    from npformer.train.objective import MaskedLMObjective, add_results
    from npformer.train.parallel import shard_threads

    keep_freed_memory()
    imports = peak_memory()
    rng = np.random.default_rng(0)
    model = MaskedLM.init(preset(name), rng)
    ids = rng.integers(0, model.config.vocab_size, (batch, length))
    labels = np.where(rng.random(ids.shape) < 0.15, ids, IGNORE)
    full = Batch(ids, np.ones(ids.shape, bool), np.zeros_like(ids), labels)
    objective = MaskedLMObjective(model, recompute=recompute)
    optimizer = AdamW()
    state = optimizer.init(model.params)
    seconds = []
    with shard_threads(2) as run:
        for step in range(steps):
            start = time.perf_counter()
            result = reduce(add_results, run(objective, full, [0, step]))
            optimizer.update(model.params, result.grads, state, 1e-4)
            del result
            seconds.append(time.perf_counter() - start)
    report = {"seconds": min(seconds), "peak": peak_memory(), "above": peak_memory() - imports}
    print(json.dumps(report))


def main() -> int:
    """Run both ways; exit code 1 if recomputation does not keep to the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bert-base")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--limit", type=float, default=8.0, metavar="GIB")
    args = parser.parse_args()
    found = {}
    for recompute in (False, True):
        call = f"{args.model!r}, {args.batch}, {args.length}, {args.steps}, {recompute}"
        code = f"from benchmarks.recomputation import child; child({call})"
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found[recompute] = json.loads(done.stdout)
        print(
            f"recompute={recompute!s:5}  {found[recompute]['seconds']:6.2f} s a step"
            f"  {found[recompute]['peak'] / GIB:5.2f} GiB, {found[recompute]['above'] / GIB:5.2f}"
            " above imports",
            flush=True,
        )
    price = found[True]["seconds"] / found[False]["seconds"]
    print(f"recomputation takes {price:.2f} times the time")
    return int(found[True]["peak"] > args.limit * GIB)


if __name__ == "__main__":
    sys.exit(main())
