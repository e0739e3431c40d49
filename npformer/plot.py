"""Figures: every function draws on the axes it is given (or on a new figure) and returns them.

Save with ``ax.figure.savefig(path)``. Matplotlib is imported inside the functions, so that
``import npformer`` does not need it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.checks import InputError, check_float, check_shape
from npformer.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Okabe and Ito (2008): told apart with any kind of colour vision. Line styles repeat the
# difference for grey print and for more lines than colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
STYLES = ("-", "--", "-.", ":")

# Matplotlib's own font has no Chinese; the first of these that is installed is asked for it.
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("Microsoft YaHei", "PingFang SC", "SimHei"),
)


def plot_losses(
    records: Sequence[Mapping[str, Any]],
    *,
    terms: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw each loss term against the steps, on a log scale, one phase after the other.

    Parameters
    ----------
    records : sequence of mapping
        Lines of ``metrics.jsonl``: "step" (counted within its phase), "phase", and a number
        for each term. A term that is absent, or not above 0, leaves a gap.
    terms : sequence of str, optional
        The terms to draw; all numbers of the records if not given.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes
        The axes drawn on.

    Raises
    ------
    InputError
        If there is no record, or no record with a number to draw.
    """
    names = _terms(records) if terms is None else list(terms)
    phases = [(phase, list(run)) for phase, run in groupby(records, lambda r: str(r["phase"]))]
    if not any(_is_number(record.get(name)) for record in records for name in names):
        raise InputError(f"records: got no numbers for {names}, expected at least one loss term")
    ax = _axes(ax, (8.0, 4.5))
    begin = 0
    for number, (phase, run) in enumerate(phases):
        # Each phase counts its steps from its own start: put it behind the one before.
        steps = [begin + int(record["step"]) for record in run]
        for i, name in enumerate(names):
            values = [_positive(record.get(name)) for record in run]
            if not all(math.isnan(v) for v in values):
                ax.plot(steps, values, label=name, marker="o" if len(run) == 1 else "", **_line(i))
        if len(phases) > 1:
            ax.axvline(begin, color="0.6", linewidth=0.8, linestyle=":")
            # On two levels, so that the name of a short phase does not run into the next.
            height, place = 1.01 + 0.04 * (number % 2), ax.get_xaxis_transform()
            ax.text(begin, height, f" {phase}", transform=place, size=8, color="0.3")
        begin = max(steps)
    ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("loss (log scale)")
    title = "Loss terms" if len(phases) > 1 else f"Loss terms, {phases[0][0]}"
    ax.set_title(title, pad=28 if len(phases) > 1 else 6)
    _legend(ax)
    return ax


def plot_accuracy(
    curves: Mapping[str, Sequence[tuple[int, float]]],
    *,
    measure: str = "accuracy",
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy, or another measure, against steps, one line for each model.

    Parameters
    ----------
    curves : mapping of str to sequence of (int, float)
        Name of the model to its (step, accuracy) pairs.
    measure : str
        What the numbers are.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes
        The axes drawn on.

    Raises
    ------
    InputError
        If no curve has a point.
    """
    if not any(curves.values()):
        raise InputError("curves: got no points, expected at least one (step, accuracy)")
    ax = _axes(ax, (7.0, 4.5))
    for i, (name, points) in enumerate(curves.items()):
        steps, shares = [step for step, _ in points], [share for _, share in points]
        ax.plot(steps, shares, label=name, marker="o", markersize=3.5, **_line(i))
    ax.set_xlabel("step")
    ax.set_ylabel(measure)
    ax.set_title(f"{measure.capitalize()} against steps")
    ax.grid(alpha=0.3)
    _legend(ax)
    return ax


def plot_attention(
    attention: FloatArray,
    tokens_q: Sequence[str],
    tokens_k: Sequence[str],
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw one head's attention as a heat map: queries downwards, keys to the right.

    Parameters
    ----------
    attention : ndarray of shape (T, S)
        Scores or probabilities of one head of one sentence.
    tokens_q, tokens_k : sequence of str
        The T tokens that ask and the S tokens that are asked.
    ax : Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    Axes
        The axes drawn on.

    Raises
    ------
    InputError
        If the numbers of tokens differ from the shape.
    """
    _check_attention("attention", attention, len(tokens_q), len(tokens_k))
    ax = _axes(ax, (6.0, 5.0))
    image = _heat_map(ax, attention, tokens_q, tokens_k, attention.min(), attention.max())
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    ax.set_title("Attention")
    return ax


def plot_attention_pair(
    teacher: FloatArray,
    student: FloatArray,
    tokens: Sequence[str],
    *,
    axes: Sequence[Axes] | None = None,
) -> tuple[Axes, Axes]:
    """Draw a head of the teacher and a head of the student side by side, in one colour scale.

    One scale, because distillation compares the two entry by entry: a student with the right
    pattern and the wrong size should look wrong.

    Parameters
    ----------
    teacher, student : ndarray of shape (T, T)
        Scores or probabilities of one head on the same sentence.
    tokens : sequence of str
        Its T tokens.
    axes : sequence of two Axes, optional
        Where to draw; a new figure if not given.

    Returns
    -------
    tuple of Axes
        The two axes drawn on.

    Raises
    ------
    InputError
        If the number of tokens differs from the shapes, or ``axes`` are not two.
    """
    _check_attention("teacher", teacher, len(tokens), len(tokens))
    _check_attention("student", student, len(tokens), len(tokens))
    if axes is None:
        from matplotlib import pyplot as plt

        _, axes = plt.subplots(1, 2, figsize=(11.0, 5.0), layout="constrained")
    if len(axes) != 2:
        raise InputError(f"axes: got {len(axes)}, expected two")
    left, right = axes
    low, high = min(teacher.min(), student.min()), max(teacher.max(), student.max())
    for ax, attention, title in ((left, teacher, "Teacher"), (right, student, "Student")):
        image = _heat_map(ax, attention, tokens, tokens, low, high)
        ax.set_title(title)
    right.set_ylabel("")
    left.figure.colorbar(image, ax=[left, right], shrink=0.8)
    return left, right


def _heat_map(
    ax: Axes,
    attention: FloatArray,
    tokens_q: Sequence[str],
    tokens_k: Sequence[str],
    low: float,
    high: float,
) -> AxesImage:
    image = ax.imshow(attention, cmap="cividis", vmin=low, vmax=high, aspect="auto")
    size = min(10.0, max(4.0, 220.0 / max(attention.shape)))
    families, (names_k, names_q) = _readable(tokens_k, tokens_q)
    # parse_math: a token may be a dollar sign.
    style: dict[str, Any] = {"fontsize": size, "family": families, "parse_math": False}
    ax.set_xticks(range(len(names_k)), names_k, **style)
    for label in ax.get_xticklabels():  # a single character stands upright
        label.set_rotation(90 if len(label.get_text()) > 1 else 0)
    ax.set_yticks(range(len(names_q)), names_q, **style)
    ax.set_xlabel("key: asked")
    ax.set_ylabel("query: asks")
    return image


def _readable(*lists: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Return fonts, and the tokens; a character that is in none of them becomes its code."""
    from matplotlib import font_manager

    installed = {font.name: font.fname for font in font_manager.fontManager.ttflist}
    families = [name for name in ("DejaVu Sans", *CHINESE_FONTS) if name in installed]
    known: set[int] = set()
    for name in families:
        known.update(font_manager.get_font(installed[name]).get_charmap())
    readable = [
        ["".join(c if ord(c) in known else f"U+{ord(c):X}" for c in token) for token in tokens]
        for tokens in lists
    ]
    return families, readable


def _check_attention(name: str, attention: FloatArray, queries: int, keys: int) -> None:
    check_float(name, attention)
    check_shape(name, attention, (queries, keys))
    if attention.size == 0:
        raise InputError(f"{name}: got no tokens, expected at least one")


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=size, layout="constrained")[1]


def _line(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i % len(STYLES)]}


def _legend(ax: Axes) -> None:
    """Name every line once: a term that runs through several phases has a line in each.

    Beside the axes, where no line runs.
    """
    lines, names = ax.get_legend_handles_labels()
    once = dict(zip(names, lines, strict=True))
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    ax.legend(list(once.values()), list(once), fontsize=8, **place)


def _terms(records: Sequence[Mapping[str, Any]]) -> list[str]:
    named = [name for record in records for name, v in record.items() if _is_number(v)]
    return [name for name in dict.fromkeys(named) if name not in ("step", "phase")]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _positive(value: Any) -> float:
    """Return what a log scale can show of a value: itself, or a gap."""
    return float(value) if _is_number(value) and value > 0 else math.nan
