"""A child process: sets one contender up, then does steps whenever the parent asks for some.

It speaks JSON, one line a message. The first says that it is ready and what its first steps gave;
after that each line from the parent is a number of steps, and the answer their times.
"""

import importlib
import json
import os
import sys
import time
from typing import Any

from benchmarks.case import Case, Step
from benchmarks.libraries import LIBRARIES
from benchmarks.memory import peak_memory

WARM_UP = 2  # steps, at the least


def main(library: str, case_json: str, without: str = "") -> None:
    """Serve the parent until it closes our standard input."""
    # Messages have a channel of their own: what a library prints goes where errors go.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")

    case = Case.from_json(case_json)
    module = importlib.import_module(f"benchmarks.contenders.{LIBRARIES[library].module}")
    if without:
        importlib.import_module("benchmarks.ablation.techniques").TECHNIQUES[without]()
    imported = peak_memory()
    step: Step = module.make(case)
    batches = len(case.lengths)
    values = []
    for i in range(max(WARM_UP, batches)):
        start = time.perf_counter()
        values.append(step(i % batches, False))
        last = time.perf_counter() - start
    use_dropout = case.dropout > 0

    def one_pass() -> float:
        start = time.perf_counter()
        for i in range(batches):
            step(i, use_dropout)
        return (time.perf_counter() - start) / batches

    say({"seconds": last * batches, "values": values, "about": module.about()})
    for line in sys.stdin:
        before = time.process_time()
        seconds = [one_pass() for _ in range(int(line))]
        used = time.process_time() - before
        say({"seconds": seconds, "processor": used, "memory": peak_memory() - imported})


if __name__ == "__main__":
    main(*sys.argv[1:])
