"""What the figures show: their lines, texts and colours, read back from the axes."""

import math
import subprocess
import sys
from collections.abc import Iterator

import matplotlib.colors
import numpy as np
import pytest
from matplotlib import pyplot as plt

from npformer.checks import InputError
from npformer.plot import COLOURS, plot_accuracy, plot_attention, plot_attention_pair, plot_losses

RECORDS = [
    {"step": 1, "phase": "intermediate", "attention": 4.0, "hidden": 2.0, "note": "x", "ok": True},
    {"step": 2, "phase": "intermediate", "attention": 3.0, "hidden": 0.0},
    {"step": 3, "phase": "intermediate", "attention": 2.0, "hidden": 1.0},
    {"step": 1, "phase": "prediction", "soft": 0.7},
    {"step": 2, "phase": "prediction", "soft": 0.6},
]
TOKENS = ["[CLS]", "not", "$", "$x$", "[SEP]"]


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    plt.close("all")


def draw(ax) -> None:
    """Everything: a missing glyph or a layout that does not fit is a warning, so an error."""
    ax.figure.canvas.draw()


def test_losses_by_term_and_phase() -> None:
    ax = plot_losses(RECORDS)
    draw(ax)
    lines = {line.get_label(): line for line in ax.get_lines() if line.get_label()[0] != "_"}
    assert list(lines) == ["attention", "hidden", "soft"]
    np.testing.assert_array_equal(lines["attention"].get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(lines["attention"].get_ydata(), [4, 3, 2])
    # A loss of 0 has no logarithm: a gap, not a dive.
    assert [math.isnan(v) for v in lines["hidden"].get_ydata()] == [False, True, False]
    # The second phase counts from 1 again and stands behind the first.
    np.testing.assert_array_equal(lines["soft"].get_xdata(), [4, 5])
    assert ax.get_yscale() == "log"
    assert ax.get_xlabel() == "step"
    assert ax.get_ylabel() == "loss (log scale)"
    assert ax.get_title() == "Loss terms"
    assert [t.get_text().strip() for t in ax.texts] == ["intermediate", "prediction"]


def test_a_term_of_two_phases_has_one_colour_and_one_entry() -> None:
    records = [{"step": s, "phase": p, "loss": 1.0 + s} for p in ("one", "two") for s in (1, 2)]
    ax = plot_losses(records)
    first, second = (line for line in ax.get_lines() if line.get_label() == "loss")
    assert first.get_color() == second.get_color()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["loss"]


def test_terms_are_chosen() -> None:
    ax = plot_losses(RECORDS, terms=["soft"])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["soft"]


def test_accuracy_curves() -> None:
    ax = plot_accuracy({"distilled": [(10, 0.7), (20, 0.9)], "scratch": [(10, 0.5), (20, 0.6)]})
    draw(ax)
    ours, scratch = ax.get_lines()
    np.testing.assert_array_equal(ours.get_xydata(), [[10, 0.7], [20, 0.9]])
    assert ours.get_color() != scratch.get_color()
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["distilled", "scratch"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "accuracy")
    assert ax.get_title()


def test_attention_shows_the_array_the_right_way_round() -> None:
    scores = np.arange(10.0).reshape(2, 5) - 4
    ax = plot_attention(scores, ["a", "b"], TOKENS)
    draw(ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), scores)
    assert [t.get_text() for t in ax.get_xticklabels()] == TOKENS
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert not any(t.get_parse_math() for t in (*ax.get_xticklabels(), *ax.get_yticklabels()))
    assert ax.get_xlabel().startswith("key")
    assert ax.get_ylabel().startswith("query")
    # Row 0 on top.
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert len(ax.figure.axes) == 2


def test_a_character_without_a_font_is_its_code() -> None:
    """Never a box: which fonts are there is chance, and no font has this one."""
    ax = plot_attention(np.eye(2, dtype=np.float32), ["\U0010abcd", "年"], ["a", "▁b"])
    draw(ax)
    assert ax.get_yticklabels()[0].get_text() == "U+10ABCD"
    assert ax.get_yticklabels()[1].get_text() in ("年", "U+5E74")
    # A character stands upright, a longer name on its side.
    assert [label.get_rotation() for label in ax.get_xticklabels()] == [0, 90]


def test_a_pair_has_one_colour_scale() -> None:
    teacher = np.random.default_rng(1).standard_normal((5, 5))
    student = 3 * teacher
    for one, other in ((teacher, student), (student, teacher)):
        left, right = plot_attention_pair(one, other, TOKENS)
        draw(left)
        limits = student.min(), student.max()
        assert left.images[0].get_clim() == right.images[0].get_clim() == limits
        np.testing.assert_array_equal(left.images[0].get_array(), one)
        np.testing.assert_array_equal(right.images[0].get_array(), other)
    assert (left.get_title(), right.get_title()) == ("Teacher", "Student")


def test_axes_given_are_used_and_no_figure_is_made() -> None:
    figure, grid = plt.subplots(2, 3, layout="constrained")
    eye = np.eye(5)
    assert plot_losses(RECORDS, ax=grid[0, 0]) is grid[0, 0]
    assert plot_accuracy({"a": [(1, 0.5)]}, ax=grid[0, 1]) is grid[0, 1]
    assert plot_attention(eye, TOKENS, TOKENS, ax=grid[0, 2]) is grid[0, 2]
    assert plot_attention_pair(eye, eye, TOKENS, axes=grid[1, :2]) == (grid[1, 0], grid[1, 1])
    assert plt.get_fignums() == [figure.number]
    figure.canvas.draw()


def test_new_figures_have_a_layout_that_fits() -> None:
    for ax in (plot_losses(RECORDS), plot_attention_pair(np.eye(5), np.eye(5), TOKENS)[0]):
        assert ax.figure.get_layout_engine() is not None


def test_colours_are_seven_different_ones() -> None:
    assert len(set(COLOURS)) == len(COLOURS)
    for colour in COLOURS:
        assert matplotlib.colors.is_color_like(colour)


def test_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match=r"attention: got shape \(5, 5\), expected \(5, 2\)"):
        plot_attention(np.eye(5), TOKENS, ["a", "b"])
    with pytest.raises(InputError, match="student: got shape"):
        plot_attention_pair(np.eye(5), np.eye(4), TOKENS)
    with pytest.raises(InputError, match="attention: got no tokens"):
        plot_attention(np.zeros((0, 0)), [], [])
    with pytest.raises(InputError, match="axes: got 3, expected two"):
        plot_attention_pair(np.eye(5), np.eye(5), TOKENS, axes=plt.subplots(1, 3)[1])
    for empty in ([], [{"step": 1, "phase": "one"}]):
        with pytest.raises(InputError, match="records: got no numbers"):
            plot_losses(empty)
    with pytest.raises(InputError, match="curves: got no points"):
        plot_accuracy({"a": []})
    with pytest.raises(InputError, match="curves: got no points"):
        plot_accuracy({})


def test_importing_does_not_load_matplotlib() -> None:
    code = "import sys, npformer.plot; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
