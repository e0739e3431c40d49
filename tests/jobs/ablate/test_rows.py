"""What a row leaves out, and what the paper got for it."""

import pytest

from npformer.checks import InputError
from npformer.jobs.ablate.rows import FULL, PAPER, TABLES, TERMS, Row, rows_of, settings_of
from npformer.jobs.distill.settings import Settings

STEPS = {"general": 5, "intermediate": 7, "prediction": 11}
ALL = {table: TABLES[table].names for table in TABLES}


def changed(row, **full):
    """Return what a row's settings change in those of the full method."""
    before = Settings.of(full)
    after = settings_of(row, before, STEPS).to_dict()
    method = settings_of(FULL, before, STEPS).to_dict()
    return {name: after[name] for name in after if after[name] != method[name]}


def test_the_full_method_changes_the_steps_alone():
    before = Settings.of({"steps": {"pretrain": 3}, "weights": {"hidden": 2.0}})
    after = settings_of(FULL, before, STEPS)
    assert after.steps == {"pretrain": 3, **STEPS}
    assert before.steps == {"pretrain": 3}
    assert {**after.to_dict(), "steps": before.steps} == before.to_dict()


def test_stages():
    assert changed(Row("stages", "general")) == {"steps": STEPS | {"general": 0}}
    assert changed(Row("stages", "augmentation"), copies=3) == {"copies": 0}
    assert changed(Row("stages", "task"), weights={"hidden": 2.0}) == {
        "steps": {"general": 5, "intermediate": 0, "prediction": 18},
        "weights": {"hidden": 2.0, "prediction": 0.0, "hard_label": 1.0},
    }


@pytest.mark.parametrize("term", TERMS)
def test_loss_terms(term):
    more = {"hard_label": 1.0} if term == "prediction" else {}
    assert changed(Row("losses", term)) == {"weights": {term: 0.0, **more}}


def test_several_loss_terms():
    [_, row] = rows_of({"losses": ["hidden+prediction+attention+hidden"]})
    assert row == Row("losses", "attention+hidden+prediction")
    weights = {"attention": 0.0, "hidden": 0.0, "prediction": 0.0, "hard_label": 1.0}
    assert changed(row) == {"weights": weights}


@pytest.mark.parametrize("name", ["top", "bottom"])
def test_mapping(name):
    assert changed(Row("mapping", name)) == {"mapping": name}


def test_the_full_method_comes_first_and_once():
    assert rows_of({"mapping": ["uniform", "top", "uniform"]}) == (FULL, Row("mapping", "top"))
    rows = rows_of(ALL)
    assert rows[0] == FULL
    assert len(rows) == len(set(rows)) == len(PAPER) == 11


def test_rows_have_folders_and_names_of_their_own():
    rows = rows_of(ALL)
    assert len({row.folder for row in rows}) == len({row.label for row in rows}) == len(rows)


@pytest.mark.parametrize("key", PAPER)
def test_the_papers_averages_are_the_means_of_what_it_prints(key):
    paper = PAPER[key]
    assert sum(paper[:4]) / 4 == pytest.approx(paper.average, abs=0.0501)


def test_rows_of_the_paper_are_all_there():
    assert {(row.table, row.name) for row in rows_of(ALL)} == set(PAPER)
    assert Row("losses", "embedding+hidden").paper is None


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"losses": ["beauty"]}, "--drop: got 'beauty', expected one of embedding, hidden"),
        ({"losses": ["hidden+beauty"]}, "--drop: got 'beauty'"),
        ({"losses": ["hidden+"]}, "--drop: got ''"),
        (
            {"losses": ["embedding+attention+hidden"]},
            "--drop: got embedding+attention+hidden, which leaves the general and intermediate",
        ),
        ({"losses": ["hidden", "hidden"]}, "--drop: got hidden twice"),
        (
            {"losses": ["hidden+attention", "attention+hidden"]},
            "--drop: got attention+hidden twice",
        ),
        ({"stages": ["pretrain"]}, "--stages: got 'pretrain', expected one of general, task"),
        ({"mapping": ["middle"]}, "--mapping: got 'middle', expected one of uniform, top"),
        ({"mapping": ["uniform"], "stages": []}, "got nothing to leave out"),
    ],
)
def test_rows_that_cannot_be(chosen, said):
    with pytest.raises(InputError) as caught:
        rows_of(chosen)
    assert said in str(caught.value)
