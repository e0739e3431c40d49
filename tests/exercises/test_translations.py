"""The Chinese beside the code: complete, nothing left over or stale; one language per file."""

import ast
import inspect
import re
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.exercises import marks
from npformer.exercises.course import EXERCISES
from npformer.exercises.exercise import Exercise
from npformer.exercises.marks import THINGS
from npformer.exercises.quiz.deck import TOPICS
from npformer.exercises.skeleton.weighted_mean import WEIGHTED_MEAN
from npformer.exercises.translation import MESSAGES, beside, in_both, mark, message, read, stale

ROOT = Path(marks.__file__).parent
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
PAGES = sorted(ROOT.rglob("zh/*.md"))
each = pytest.mark.parametrize(
    "thing", THINGS, ids=lambda thing: f"{type(thing).__name__}-{thing.id}"
)


@each
def test_all_that_is_said_is_translated(thing):
    for name, text in thing.said.items():
        assert text.zh.strip(), name
        assert text.en == thing.english[name]


@each
def test_no_translation_is_of_an_english_that_has_changed(thing):
    assert stale(thing.file, thing.id, thing.english) == [], (
        "look, then run npformer.exercises.marks"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_translation_is_left_over(page):
    if page != MESSAGES:
        ids = [thing.id for thing in (*THINGS, WEIGHTED_MEAN) if beside(thing.file) == page]
        assert ids == list(read(page))


def test_the_marks_are_what_the_command_writes(tmp_path, monkeypatch):
    """It changes nothing where all is fresh, and marks what is stale, of one section alone."""
    source = tmp_path / "sums.py"
    (tmp_path / "zh").mkdir()
    page = beside(source)
    english = {"a": "One", "b": "Two"}
    page.write_text("# a\n\n**a** 一\n\n**b** 二\n\n# b\n\n**a** 一\n\n**b** 二\n", "utf-8")
    assert stale(source, "a", english) == ["a", "b"]
    before = page.read_text("utf-8")
    marks.write(source, "a", english)
    read.cache_clear()
    assert stale(source, "a", english) == []
    assert stale(source, "a", {"a": "One", "b": "Three"}) == ["b"]
    assert stale(source, "b", english) == ["a", "b"]
    marks.write(source, "b", english)
    fresh = page.read_text("utf-8")
    marks.write(source, "a", english)
    marks.write(source, "b", english)
    assert page.read_text("utf-8") == fresh
    assert re.sub(r"\n\n<!--.*-->", "", fresh) == before


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (
            "# other\n\n**a** 一\n",
            r"^sums\.md: got no heading # sum, expected one, as in sums\.py$",
        ),
        ("# sum\n\n**a** 一\n", r"^sums\.md, # sum: got no \*\*b\*\*, expected its translation$"),
        (
            "# sum\n\n**a** 一\n\n**b** 二\n\n**c** 三\n",
            r"got \*\*c\*\*, of which sums\.py says noth",
        ),
        ("# sum\n\n**a** 一\n\n**a** 一\n\n**b** 二\n", r"got \*\*a\*\* twice, expected it once$"),
        (
            "# sum\n\n**a** 一\n\n# sum\n\n**b** 二\n",
            r"got the heading # sum twice, expected it once$",
        ),
        ("**a** 一\n\n**b** 二\n", r"got '\*\*a\*\* 一', expected a heading # ID, then entries"),
        ("# sum\n\n一\n\n**a** 一\n\n**b** 二\n", r"got '一', expected a heading # ID, then"),
    ],
)
def test_a_translation_that_does_not_fit_is_refused(page, message, tmp_path):
    source = tmp_path / "sums.py"
    english = {"a": "One", "b": "Two"}
    assert in_both(source, "sum", english)["a"] == ("One", "One")  # none: English twice
    (tmp_path / "zh").mkdir()
    beside(source).write_text(page, "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        in_both(source, "sum", english)
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


def test_paragraphs_belong_to_the_entry_above(tmp_path):
    source = tmp_path / "sums.py"
    (tmp_path / "zh").mkdir()
    beside(source).write_text("# sum\n\n**a** 一\n\n$$x$$\n\n- 二\n- 三\n\n**b** 四\n", "utf-8")
    said = in_both(source, "sum", {"a": "One", "b": "Two"})
    assert [text.zh for text in said.values()] == ["一\n\n$$x$$\n\n- 二\n- 三", "四"]


def test_a_mark_does_not_see_where_lines_break():
    assert mark("a b\nc") == mark("a b c") != mark("a b d")


def test_two_mistakes_of_a_name_and_one_that_says_nothing_are_refused():
    exercise = Exercise(
        id="made-up",
        title="",
        statement="",
        reference=lambda x: x,
        library=(),
        outputs=("y",),
        cases=lambda rng: [],
        hints=("", "", ""),
        tracks=(),
        difficulty=1,
        minutes=1,
    )

    def wrong(x):
        """it is wrong."""

    assert exercise.mistake("wrong")(wrong) is wrong
    with pytest.raises(InputError, match=r"^made-up: got two mistakes 'wrong', expected"):
        exercise.mistake("wrong")(wrong)
    with pytest.raises(InputError, match=r"^made-up: got no docstring of 'silent', expected"):
        exercise.mistake("silent")(lambda x: x)


# The form of the files


def test_a_wrong_function_stands_beside_what_it_says():
    """The median of the lines from its name to its diagnosis."""
    apart = []
    for exercise in EXERCISES:
        defined = {}
        for path in [*exercise.file.parent.glob("*.py"), exercise.file]:
            tree = ast.parse(path.read_text("utf-8"))
            defined |= {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        for function in exercise.mistakes.values():
            node = defined[function.__name__]
            assert ast.get_docstring(node) == inspect.getdoc(function)
            apart.append(node.body[0].lineno - node.lineno)
    assert len(apart) == sum(len(exercise.mistakes) for exercise in EXERCISES) > 550
    assert median(apart) == 1


# Not verdict.py: it joins its sentences of pieces, which a catalogue of sentences does not hold.
CHAPTERS = sorted(
    path
    for folder in {thing.file.parent for thing in THINGS}
    for path in folder.glob("*.py")
    if path.name != "verdict.py"
)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_short_and_says_it_in_one_language(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 300
    tree = ast.parse(text)
    said = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    chinese = [s for s in said if isinstance(s, str) and CHINESE.search(s)]
    # Its data may be Chinese: words for WordPiece.
    assert not chinese or path.stem in ("wordpiece", "bert"), chinese


# The program's own messages


def messages_in(path):
    """Return what a file hands to `message` as it stands."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("message", "session.tell"):
            if isinstance(node.args[0], ast.Constant):
                yield node.args[0].value
            else:
                assert ast.unparse(node.args[0]) in ("part", "topic", "card.topic", "english")


def test_every_message_of_the_program_is_translated_and_none_is_left_over():
    said = {text for path in ROOT.rglob("*.py") for text in messages_in(path)}
    for exercise in EXERCISES:
        said |= {case.part for case in exercise.cases(np.random.default_rng(0))} - {""}
    said |= set(TOPICS)
    known = [text for section in read(MESSAGES).values() for text in section.texts]
    assert len(set(known)) == len(known)
    assert said == set(known)


def test_a_translated_message_has_no_fields_of_its_own():
    fields = re.compile(r"{(\w+)[^}]*}")
    for section in read(MESSAGES).values():
        for english, chinese in section.texts.items():
            assert set(fields.findall(chinese)) <= set(fields.findall(english)), english


def test_a_message_says_its_fields_in_the_language_asked_for():
    which = message("last")
    said = message(
        "{name} is off by a number that is the same along the {which} axis: a sum or mean over "
        "that axis is missing or wrong",
        name="dx",
        which=which,
    )
    assert "along the last axis" in said.en
    assert f"dx 的误差沿{which.zh}轴" in said.zh
    assert message("a part of somebody's own") == ("a part of somebody's own",) * 2
