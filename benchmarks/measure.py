"""Run a case: the contenders one by one until they are ready, then in turns."""

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.case import Case
from benchmarks.child import Child, ChildError
from benchmarks.libraries import Contender
from benchmarks.results import Measured, Result, disagreement

# Threads of the contender before spin for a moment after their last work.
PAUSE = 0.1  # seconds


class Disagreement(Exception):
    """Two contenders compute different numbers: timing them would compare nothing."""


def measure(case: Case, contenders: Sequence[Contender], rounds: int) -> Result:
    """Time every contender on ``case``.

    A contender that fails is left out, with a line that says why.

    Raises
    ------
    Disagreement
        If a contender's first steps gave other numbers than those of the first one.
    """
    from tqdm import tqdm

    with ExitStack() as stack, tqdm(total=rounds, desc=case.title, disable=None) as bar:
        stack.callback(bar.clear)
        children: list[Child] = []
        for contender in contenders:
            bar.set_postfix_str(f"starting {contender.label}")
            try:
                children.append(stack.enter_context(Child(contender, case)))
            except ChildError as error:
                bar.write(f"{case.title}: left out {error}", file=sys.stderr)
                continue
            _check(case, children[0], children[-1])
        for _ in range(rounds):
            for child in children:
                bar.set_postfix_str(child.contender.label)
                time.sleep(PAUSE)
                child.take_turn()
            bar.update()
        return Result(
            case,
            [
                Measured(c.contender, c.rounds, c.others, c.memory, c.values, c.about)
                for c in children
            ],
        )


def _check(case: Case, first: Child, child: Child) -> None:
    difference = disagreement(first.values, child.values)
    if difference is not None:
        raise Disagreement(
            f"{case.title}: {first.contender.label} and {child.contender.label} disagree in "
            f"{difference}"
        )
