"""The same run at several seeds, and what may be concluded from them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from npformer.jobs.distill.settings import Settings
from npformer.jobs.distill.tinybert import distil
from npformer.train.run import Run, open_run, write_json
from npformer.train.verdict import paired_verdict


def distil_seeds(
    run: Run, settings: Settings, seeds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Distil once for each seed from ``settings.seed`` on, each in a folder of its own.

    Student and baselines of a seed share its data, so their scores are compared in pairs.

    Parameters
    ----------
    run : Run
        Holds ``seed-0`` and so on, finished ones or not.
    settings : Settings
    seeds : int
    say : callable

    Returns
    -------
    dict
        "seeds", the results of each; "verdicts", of the student against each baseline;
        "retained", the share of the teacher's score, for each seed.
    """
    results = []
    for seed in range(settings.seed, settings.seed + seeds):
        results.append(_one(run.folder / f"seed-{seed}", replace(settings, seed=seed), say))
    measure = results[0]["measure"]
    verdicts = {
        name: paired_verdict(
            [r["student"][measure] for r in results], [r[name][measure] for r in results]
        )._asdict()
        for name in settings.baselines
    }
    summary = {
        "settings": settings.to_dict(),
        "measure": measure,
        "verdicts": verdicts,
        "retained": [r["student"]["retained"] for r in results],
        "seeds": results,
    }
    write_json(run.folder / "results.json", summary)
    return summary


def verdict_lines(summary: dict[str, Any]) -> list[str]:
    """Return the verdicts in a sentence each, and what is retained in the mean."""
    lines = []
    for name, v in summary["verdicts"].items():
        low, high = v["low"], v["high"]
        interval = "" if low is None else f", 95 % interval {low:+.4f} to {high:+.4f}"
        lines.append(
            f"distilled against {name} over {v['seeds']} seeds: {v['verdict']} "
            f"({summary['measure']} {v['mean_difference']:+.4f}{interval})"
        )
    shares = [share for share in summary["retained"] if share is not None]
    if shares:
        lines.append(f"retained: {100 * fmean(shares):.1f} %, the mean of {len(shares)} seeds")
    return lines


def _one(folder: Path, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    there = (folder / "run.json").exists()
    with open_run(folder, None if there else settings.to_dict()) as one:
        return distil(one, settings, say)
