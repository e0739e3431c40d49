"""A grid of runs, rows times seeds, on any executor."""

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.jobs.ablate.figure import save_tables
from npformer.jobs.ablate.report import summary
from npformer.jobs.ablate.rows import FULL, Row
from npformer.jobs.ablate.runs import Spec, execute
from npformer.jobs.distill.settings import Settings
from npformer.train.malloc import keep_freed_memory
from npformer.train.run import Run, write_json


def ablate(
    run: Run,
    settings: Settings,
    rows: Sequence[Row],
    *,
    seeds: int,
    executor: Executor,
    say: Callable[[str], None],
    at_once: int | None = None,
) -> dict[str, Any]:
    """Run every row at every seed, or what is left to run, and compare with the paper.

    A seed's teacher is trained once, in ``teachers/seed-S``; each row then has its own run in
    ``<table>/<row>/seed-S``, the full method in ``full/seed-S``. What is finished is not
    done again.

    Parameters
    ----------
    run : Run
        The grid's folder, new or resumed.
    settings : Settings
        Of the full method, at the first seed.
    rows : sequence of Row
        The full method among them; see `npformer.jobs.ablate.rows.rows_of`.
    seeds : int
        At least two: one has no interval.
    executor : Executor
        Where runs are executed: `process_pool`, or for example the ``get_executor()`` of a
        ``dask.distributed`` client, whose machines must all see the folder and the data.
    say : callable
        Gets a line for each finished run.
    at_once : int, optional
        How many runs the executor is given at a time; all, if not given. With no more than it has
        workers, Ctrl-C leaves none that are still to begin.

    Returns
    -------
    dict
        What ``results.json`` holds; see `npformer.jobs.ablate.report.summary`. But for "seconds" it
        does not depend on the executor.

    Raises
    ------
    InputError
        If the settings, the data or the folders cannot be used, or a run diverges.
    """
    from tqdm import tqdm

    if seeds < 2:
        raise InputError(f"--seeds: got {seeds}, expected at least 2, for an interval")
    if FULL not in rows:
        raise InputError("rows: got no full method, expected it beside what is to be compared")
    first = _absolute(settings)
    teachers = [
        Spec(str(run.folder.resolve()), replace(first, seed=seed), tuple(rows))
        for seed in range(settings.seed, settings.seed + seeds)
    ]
    results: dict[Path, dict[str, Any]] = {}
    with tqdm(total=seeds * (1 + len(rows)), desc="ablate", unit=" runs", disable=None) as bar:
        for spec, result in _finished(teachers, executor, at_once):
            results[spec.folder] = result
            bar.update()
            with tqdm.external_write_mode(file=sys.stderr):
                say(f"{len(results)}/{bar.total} {_line(spec, result)}")
    found = summary(
        settings,
        [results[spec.folder] for spec in teachers],
        {row: [results[replace(spec, row=row).folder] for spec in teachers] for row in rows},
    )
    write_json(run.folder / "results.json", found)
    say(f"figure: {save_tables(found, run.folder / 'ablations.png')}")
    return found


def process_pool(jobs: int) -> ProcessPoolExecutor:
    """Return an executor of so many processes, which end with this one however it ends.

    Raises
    ------
    InputError
        If there is to be none.
    """
    if jobs < 1:
        raise InputError(f"--jobs: got {jobs}, expected at least 1")
    # Not forked: a child would get locks of the matrix library's threads without the threads.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin)


def _finished(
    teachers: Sequence[Spec], executor: Executor, at_once: int | None
) -> Iterator[tuple[Spec, dict[str, Any]]]:
    """Yield runs as they finish; the rows of a seed start when its teacher is there."""
    waiting = deque(teachers)
    running: dict[Future[dict[str, Any]], Spec] = {}
    try:
        while waiting or running:
            while waiting and (at_once is None or len(running) < at_once):
                spec = waiting.popleft()
                running[executor.submit(execute, spec)] = spec
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in [each for each in running if each in done]:
                spec = running.pop(future)
                yield spec, _result(spec, future)
                if spec.row is None:
                    waiting.extend(replace(spec, row=row) for row in spec.rows)
    finally:
        for future in running:
            future.cancel()


def _result(spec: Spec, future: Future[dict[str, Any]]) -> dict[str, Any]:
    try:
        return future.result()
    except InputError as error:
        if spec.row is None:
            raise
        raise InputError(f"{spec.folder}: {error}") from error


def _line(spec: Spec, result: dict[str, Any]) -> str:
    where = spec.folder.relative_to(spec.out)
    return f"{where}: {result['measure']} {result['dev'][result['measure']]:.4f}"


def _absolute(settings: Settings) -> Settings:
    """Return the settings with folders that mean the same wherever a run is executed."""

    def whole(text: str | None) -> str | None:
        return str(Path(text).resolve()) if text and Path(text).exists() else text

    return replace(
        settings,
        data=whole(settings.data),
        teacher=whole(settings.teacher) or settings.teacher,
        general_teacher=whole(settings.general_teacher),
    )


def _begin() -> None:
    """Prepare a process of the pool."""
    keep_freed_memory()
    # The grid has one progress bar; those of the runs' phases would be drawn over it.
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    # A process that outlived the grid would write where the next one, resumed, does.
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
