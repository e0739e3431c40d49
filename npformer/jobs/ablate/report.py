"""What a grid of runs says: means, intervals, the paper's numbers beside them, a verdict."""

from collections.abc import Mapping, Sequence
from typing import Any

from npformer.jobs.ablate.rows import FULL, TABLES, Row
from npformer.jobs.ablate.verdict import TIE, order_verdict
from npformer.jobs.distill.settings import Settings
from npformer.train.verdict import paired_verdict


def summary(
    settings: Settings,
    teachers: Sequence[Mapping[str, Any]],
    rows: Mapping[Row, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Gather the results of all runs.

    Parameters
    ----------
    settings : Settings
        Of the full method.
    teachers : sequence of mapping
        The results of each seed's teacher.
    rows : mapping of Row to sequence of mapping
        The results of each row, seed by seed in the same order.

    Returns
    -------
    dict
        "measure", "seeds", "teacher" with its "scores" and whether it "at_chance" learnt nothing,
        and "tables". A table has "rows", the full method first, each with "scores", "mean", "low"
        and "high" of 95 %, "minus_full" (the paired difference and its interval) and "paper";
        and "order", the `npformer.jobs.ablate.verdict.Order` against the paper's.
    """
    measure = teachers[0]["measure"]
    scores = {row: [float(run["dev"][measure]) for run in runs] for row, runs in rows.items()}
    tables = {}
    for name in TABLES:
        members = [row for row in scores if row.table == name]
        if members:
            members = [FULL, *members]
            order = order_verdict(
                {row.label: scores[row] for row in members},
                {row.label: row.paper.average for row in members if row.paper is not None},
            )
            tables[name] = {
                "rows": [_row(row, scores[row], scores[FULL]) for row in members],
                "order": order._asdict(),
            }
    return {
        "settings": settings.to_dict(),
        "measure": measure,
        "seeds": [run["seed"] for run in teachers],
        "teacher": {
            "scores": [float(run["dev"][measure]) for run in teachers],
            "at_chance": [bool(run["at_chance"]) for run in teachers],
        },
        "tables": tables,
        "seconds": sum(run["seconds"] for runs in (teachers, *rows.values()) for run in runs),
    }


def _row(row: Row, scores: Sequence[float], full: Sequence[float]) -> dict[str, Any]:
    alone = paired_verdict(scores, [0.0] * len(scores))
    beside = paired_verdict(scores, full)
    return {
        "name": row.name,
        "label": row.label,
        "scores": list(scores),
        "mean": alone.mean_difference,
        "low": alone.low,
        "high": alone.high,
        "minus_full": {
            "mean": beside.mean_difference,
            "low": beside.low,
            "high": beside.high,
        },
        "paper": None if row.paper is None else row.paper._asdict(),
    }


def report(found: Mapping[str, Any]) -> list[str]:
    """Return a summary as lines of text, one block for each table of the paper."""
    seeds = len(found["seeds"])
    teacher = found["teacher"]
    scores = ", ".join(f"{100 * score:.1f}" for score in teacher["scores"])
    lines = [
        f"{found['measure']} x 100 on dev, means of {seeds} seeds with 95 % intervals",
        f"teachers: {scores}",
    ]
    if any(teacher["at_chance"]):
        lines.append("a teacher is hardly better than a constant answer")
    for name, table in found["tables"].items():
        lines += ["", *_block(name, table)]
    return lines


def _block(name: str, table: Mapping[str, Any]) -> list[str]:
    cells = [("", "ours", "95 %", "minus full", "95 %", "paper", "minus full")]
    top = table["rows"][0]["paper"]["average"]
    for row in table["rows"]:
        beside, paper, full = row["minus_full"], row["paper"], row["name"] == FULL.name
        average = None if paper is None else paper["average"]
        cells.append(
            (
                row["label"],
                f"{100 * row['mean']:.1f}",
                _interval(row["low"], row["high"], ""),
                "" if full else f"{100 * beside['mean']:+.1f}",
                "" if full else _interval(beside["low"], beside["high"], "+"),
                "" if average is None else f"{average:.1f}",
                "" if full or average is None else f"{average - top:+.1f}",
            )
        )
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    lines.insert(1, "-" * max(len(line) for line in lines))
    title = f"{TABLES[name].title}, table {TABLES[name].number} of the paper"
    return [title, *lines, *_order_lines(table)]


def _order_lines(table: Mapping[str, Any]) -> list[str]:
    rows, order = table["rows"], table["order"]
    ours = sorted(rows, key=lambda row: -row["mean"])
    theirs = sorted(
        (row for row in rows if row["paper"] is not None),
        key=lambda row: -row["paper"]["average"],
    )
    pairs = order["same"] + order["reversed"] + order["undecided"]
    return [
        f"ours, best first:  {'; '.join(row['label'] for row in ours)}",
        f"paper, best first: {'; '.join(row['label'] for row in theirs)}",
        f"verdict: {order['verdict']} (of {pairs} pairs that the paper holds {TIE} points or more "
        f"apart, {order['same']} as there, {order['reversed']} the other way round, "
        f"{order['undecided']} undecided)",
    ]


def _interval(low: float, high: float, sign: str) -> str:
    return f"{100 * low:{sign}.1f} to {100 * high:{sign}.1f}"
