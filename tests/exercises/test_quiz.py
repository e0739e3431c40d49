"""The quiz: every proof holds and can fail; both languages; the schedule; a whole session."""

import io
import json
import re
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pytest
from exercises.broken_claims import BROKEN

from npformer.checks import InputError
from npformer.cli import main
from npformer.exercises.course import EXERCISES
from npformer.exercises.quiz.deck import CARDS, FILES, TOPICS, find, of_exercise, of_topic
from npformer.exercises.quiz.schedule import DAYS, Review, due, graded, next_day
from npformer.exercises.quiz.state import default_path, load, save
from npformer.exercises.text import LANGUAGES, Text, width

DOCS = Path(__file__).parents[2] / "docs"
THE_FIVE = (
    "transformer-idea",
    "multi-head-steps",
    "position-encodings",
    "what-is-distillation",
    "tinybert-steps",
)
TODAY = date(2026, 3, 10)

every_card = pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)


def run_proof(code, name):
    exec(compile(code, name, "exec"), {})


# Cards


@every_card
def test_the_proof_is_a_program_that_holds(card):
    start = time.process_time()
    run_proof(card.proof, card.id)
    assert time.process_time() - start < 1
    card.check()


@every_card
def test_the_proof_fails_where_the_claim_is_broken(card):
    right, wrong = BROKEN[card.id]
    assert right in card.proof
    with pytest.raises(AssertionError):
        run_proof(card.proof.replace(right, wrong), card.id)


def test_no_claim_is_broken_of_a_card_that_is_gone():
    assert BROKEN.keys() == {card.id for card in CARDS}


def test_a_proof_says_what_it_imports():
    lines = find("padding-mask").proof.splitlines()
    assert lines[:2] == ["import numpy as np", "from npformer import ops"]
    assert lines[-1] == "padding_is_invisible()"


def test_there_are_enough_with_ids_of_their_own():
    assert len(CARDS) >= 70
    assert len({card.id for card in CARDS}) == len(CARDS)
    assert len({card.check for card in CARDS}) == len(CARDS)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.id) for card in CARDS)


@every_card
def test_both_languages_are_complete(card):
    for text in card.said.values():
        assert not re.search(r"[\u4e00-\u9fff]", text.en)
        assert len(re.findall(r"[\u4e00-\u9fff]", text.zh)) >= 4
        for said in text:
            assert said == said.strip() != ""
            assert said.count("`") % 2 == 0
            assert not re.search(r"  |\b(TODO|TBD)\b", said)
    assert len(set(card.said.values())) == 3


@every_card
def test_both_languages_give_the_same_formulas_and_numbers(card):
    for text in card.said.values():
        code = [sorted(re.findall(r"`([^`]+)`", said)) for said in text]
        assert code[0] == code[1]


@every_card
def test_the_page_exists(card):
    assert card.docs.endswith(".md")
    assert (DOCS / card.docs).is_file()


@every_card
def test_the_exercises_exist(card):
    assert set(card.exercises) <= {exercise.id for exercise in EXERCISES}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_exercise_has_a_card(exercise):
    cards = of_exercise(exercise.id)
    assert cards
    assert all(exercise.id in card.exercises for card in cards)


def test_topics_are_files_and_hold_all_cards():
    folder = Path(sys.modules["npformer.exercises.quiz.cards"].__file__).parent
    assert set(FILES.split()) == {path.stem for path in folder.glob("*.py")} - {"__init__"}
    for card in CARDS:
        assert card.check.__module__.partition(".cards.")[2].startswith(card.topic)
    assert sum(len(of_topic(topic)) for topic in TOPICS) == len(of_topic(None)) == len(CARDS)
    assert min(len(of_topic(topic)) for topic in TOPICS) >= 4


def test_the_five_questions_of_the_blog_post_are_asked():
    for card in map(find, THE_FIVE):
        assert card.docs == "interview.md"
        assert of_topic(card.topic)[0] is card or card.topic == "attention"


def test_an_unknown_card_or_topic_is_refused():
    with pytest.raises(InputError, match=r"^id: got 'sinusodal', expected .* sinusoidal"):
        find("sinusodal")
    with pytest.raises(InputError, match=r"^topic: got 'x', expected one of attention, "):
        of_topic("x")


# The schedule


def boxes(*grades, start=None):
    state = {} if start is None else {"a": start}
    return [(state := graded(state, "a", grade, TODAY))["a"].box for grade in grades]


def test_grades_move_a_card():
    assert boxes(3, 3, 3, 3, 3, 3, 3) == [1, 2, 3, 4, 5, 6, 6]
    assert boxes(4, 4, 4, 4) == [2, 4, 6, 6]
    assert boxes(2, 2, 3, 2, 1, 2) == [1, 1, 2, 2, 0, 1]
    assert boxes(1, 1) == [0, 0]


def test_a_box_says_when_a_card_is_due():
    known = {"a": Review(3, date(2026, 3, 1))}
    for grade, day in ((1, "03-10"), (2, "03-17"), (3, "03-26"), (4, "04-14")):
        assert graded(known, "a", grade, TODAY)["a"].due.isoformat() == f"2026-{day}"
    assert known == {"a": Review(3, date(2026, 3, 1))}
    assert list(DAYS) == sorted(set(DAYS))


@pytest.mark.parametrize("grade", [0, 5, "3", None])
def test_no_other_grade(grade):
    with pytest.raises(InputError, match=r"^grade: got"):
        graded({}, "a", grade, TODAY)


def test_the_longest_due_come_first_then_new_ones():
    a, b, c, d, *_ = CARDS
    state = {
        a.id: Review(1, TODAY),
        b.id: Review(2, TODAY + timedelta(days=1)),
        c.id: Review(3, TODAY - timedelta(days=9)),
        "gone": Review(1, date(2020, 1, 1)),
    }
    assert due((a, b, c, d), state, TODAY) == [c, a, d]
    assert due((a, b, c, d), state, TODAY + timedelta(days=1)) == [c, a, b, d]
    assert next_day((a, b), state) == TODAY


# Its file


def test_the_file_is_plain_json(tmp_path):
    path = tmp_path / "new" / "quiz.json"
    state = {"b": Review(2, date(2026, 3, 13)), "a": Review(0, TODAY)}
    assert load(path) == {}
    save(path, state)
    assert json.loads(path.read_text("utf-8")) == {
        "version": 1,
        "cards": {
            "a": {"box": 0, "due": "2026-03-10"},
            "b": {"box": 2, "due": "2026-03-13"},
        },
    }
    assert load(path) == state
    assert [p.name for p in path.parent.iterdir()] == ["quiz.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "quiz.json"
    save(path, {"a": Review(0, TODAY)})
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises((OSError, InputError)):
        save(path, {"a": Review(1, TODAY)})
    assert path.read_bytes() == before


ONE = '{"version": 1, "cards": {"a": %s}}'
DAMAGED = {
    "empty": "",
    "cut": '{"version": 1, "cards": {',
    "list": "[]",
    "other": '{"name": "x"}',
    "version": '{"version": 2, "cards": {}}',
    "cards": '{"version": 1, "cards": []}',
    "number": ONE % "3",
    "day": ONE % '{"box": 1, "due": "10.3.2026"}',
    "no day": ONE % '{"box": 1, "due": 5}',
    "box": ONE % '{"box": 99, "due": "2026-03-10"}',
    "half box": ONE % '{"box": 0.5, "due": "2026-03-10"}',
    "true box": ONE % '{"box": true, "due": "2026-03-10"}',
    "fields": ONE % '{"box": 1, "due": "2026-03-10", "x": 1}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path, capsys, text):
    path = tmp_path / "quiz.json"
    path.write_text(text, "utf-8")
    for extra in ([], ["--list"]):
        assert main(["quiz", "--state", str(path), "--lang", "en", *extra]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"npformer quiz: {path}: got ")
        assert err.count("\n") == 1
        assert "move it away" in err
    assert path.read_text("utf-8") == text


def test_bytes_are_refused(tmp_path, capsys):
    path = tmp_path / "quiz.json"
    path.write_bytes(b"\xff\xfe\x00")
    assert main(["quiz", "--state", str(path)]) == 2
    assert "not UTF-8" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="the XDG standard is not for Windows")
def test_the_default_file_is_where_the_standard_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert default_path() == tmp_path / ".local/share/npformer/quiz.json"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_path() == tmp_path / ".local/share/npformer/quiz.json"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_path() == tmp_path / "data/npformer/quiz.json"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n\n3\n"))
    assert main(["quiz", "--count", "1"]) == 0
    assert len(load(tmp_path / "data/npformer/quiz.json")) == 1


# The command


@pytest.fixture
def quiz(monkeypatch, capsys, tmp_path):
    """Return a function that runs the command on typed lines: exit code, stdout, stderr."""

    def run(typed, *argv, lang="en"):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        args = ["quiz", "--state", str(tmp_path / "quiz.json"), "--lang", lang, *argv]
        code = main(args)
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_whole_session(quiz, tmp_path, lang):
    first, second, third = of_topic("bert")[:3]
    typed = "\n\n3\n\n\nwhat?\n1\n\n\n4\n"
    code, out, err = quiz(typed, "--topic", "bert", "--count", "3", lang=lang)
    assert (code, err) == (0, "")
    flat = "".join(out.split())
    for card in (first, second, third):
        for text in card.said.values():
            first_part, *rest = re.split(r"(?<=\?) |(?<=？)", text.to(lang), maxsplit=1)
            assert "".join(first_part.split()) in flat
            assert all("".join(part.split()) in flat for part in rest)
        assert "".join(card.proof.split()) in flat
        assert {"en": f"docs/{card.docs} in the", "zh": f"仓库中的 docs/{card.docs}"}[lang] in out
    holds, asks = {"en": ("holds", "got 'what?'"), "zh": ("证明成立", "请输入")}[lang]
    assert out.count(holds) == 3
    assert out.count(asks) == 1
    state = load(tmp_path / "quiz.json")
    assert {name: review.box for name, review in state.items()} == {
        first.id: 1,
        second.id: 0,
        third.id: 2,
    }
    # What was not known comes again today, before the new ones; what was known does not.
    _, out, _ = quiz("", "--topic", "bert", lang=lang)
    said = {"en": "bert: ", "zh": "BERT："}[lang]
    assert f"[1/{len(of_topic('bert')) - 2}] {said}{second.id}" in out
    _, out, _ = quiz("", "--topic", "bert", "--list", lang=lang)
    rows = dict(line.split()[:2] for line in out.splitlines() if line.startswith("  "))
    assert rows[third.id] == state[third.id].due.isoformat()
    assert rows[of_topic("bert")[3].id] == "-"


def test_enter_comes_between_the_follow_up_and_its_answer(quiz):
    card = of_topic("masks")[0]
    asked, answered = card.follow_up
    for typed, shown in (("\n", False), ("\nq\n", False), ("\n\n", True)):
        _, out, _ = quiz(typed, "--topic", "masks", "--count", "1")
        flat = " ".join(out.split())
        assert asked.en in flat
        assert (answered.en in flat) == ("Proof" in flat) == shown


@every_card
def test_a_follow_up_is_a_question_and_an_answer(card):
    asked, answered = card.follow_up
    assert asked.en.endswith("?")
    assert asked.zh.endswith("？")
    assert len(answered.en) > 8
    assert len(answered.zh) > 4
    assert card.said["trap"] == Text(f"{asked.en} {answered.en}", f"{asked.zh}{answered.zh}")


@pytest.mark.parametrize("card", CARDS[::9], ids=lambda card: card.id)
def test_paragraphs_fit_the_terminal_in_both_languages(card, quiz):
    for lang in LANGUAGES:
        _, out, _ = quiz("", "--show", card.id, lang=lang)
        prose = [line for line in out.splitlines() if not line.startswith("    ")]
        assert max(map(width, prose)) <= 90  # a closing mark may hang


def test_the_headings_are_chinese_in_chinese(quiz):
    _, out, _ = quiz("", "--topic", "masks", "--list", lang="zh")
    assert out.startswith("掩码（masks）\n")
    _, out, _ = quiz("", "--topic", "masks", lang="zh")
    assert out.startswith(f"\n[1/{len(of_topic('masks'))}] 掩码：")
    _, out, _ = quiz("", "--show", "key-bias", lang="zh")
    assert out.startswith("反向传播：key-bias\n")


def test_one_topic_is_one_topic(quiz):
    assert (
        f"{len(of_topic('masks'))} cards in 1 topic;" in quiz("", "--topic", "masks", "--list")[1]
    )
    assert f"in {len(TOPICS)} topics;" in quiz("", "--list")[1]


@pytest.mark.parametrize(
    "typed", ["", "\n", "\n\n", "\n\n3\n", "\n\n3\n\n", "q\n", "\nq\n", "\n\nq\n", "\n\n3\nq\n"]
)
def test_stopping_keeps_what_was_graded(quiz, tmp_path, typed):
    code, _, err = quiz(typed)
    assert (code, err) == (0, "")
    assert len(load(tmp_path / "quiz.json")) == typed.count("3")


def test_ctrl_c_keeps_what_was_graded(monkeypatch, capsys, tmp_path):
    class Typed(io.StringIO):
        def readline(self, *_):
            line = super().readline()
            if not line:
                raise KeyboardInterrupt
            return line

    monkeypatch.setattr("sys.stdin", Typed("\n\n2\n\n"))
    path = tmp_path / "quiz.json"
    assert main(["quiz", "--state", str(path)]) == 130
    assert capsys.readouterr().err == "\nnpformer quiz: stopped\n"
    assert [review.box for review in load(path).values()] == [1]


def test_nothing_due_and_all(quiz, tmp_path):
    cards = of_topic("masks")
    far = date.today() + timedelta(days=40)
    save(tmp_path / "quiz.json", {card.id: Review(6, far) for card in cards})
    code, out, _ = quiz("", "--topic", "masks")
    assert (code, out) == (0, f"Nothing is due before {far}; --all asks all the same.\n")
    _, out, _ = quiz("", "--topic", "masks", "--all")
    assert f"[1/{len(cards)}]" in out


def test_a_proof_that_fails_is_said_and_is_exit_code_1(quiz, monkeypatch, tmp_path):
    from npformer import ops

    right = ops.masked_softmax_forward
    monkeypatch.setattr(ops, "masked_softmax_forward", lambda s, keep=None: right(s))
    code, out, _ = quiz("", "--show", "fully-masked-row")
    assert code == 1
    assert "The proof FAILS: AssertionError" in out
    code, out, _ = quiz("\n\n\n3\n\n\n3\n", "--topic", "masks", "--count", "2")
    assert code == 1
    assert len(load(tmp_path / "quiz.json")) == 2  # the session goes on


@pytest.mark.parametrize("lang", LANGUAGES)
def test_show_writes_nothing(quiz, tmp_path, lang):
    code, out, _ = quiz("", "--show", "key-bias", lang=lang)
    assert code == 0
    assert find("key-bias").said["question"].to(lang) in out
    assert "multi-head-backward" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_list_names_every_card(quiz, tmp_path, lang):
    code, out, _ = quiz("", "--list", lang=lang)
    assert code == 0
    for card in CARDS:
        assert re.search(
            rf"^  {card.id} .*{re.escape(card.said['question'].to(lang))}$", out, re.MULTILINE
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--topic", "cooking"], "topic: got 'cooking', expected one of attention, "),
        (["--lang", "fr"], "lang: got 'fr', expected one of en, zh"),
        (["--count", "0"], "--count: got 0, expected at least 1"),
        (["--show", "rotaries"], "id: got 'rotaries', expected a card such as rotary"),
    ],
)
def test_bad_input_is_one_sentence(capsys, tmp_path, argv, said):
    assert main(["quiz", "--state", str(tmp_path / "quiz.json"), *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"npformer quiz: {said}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "argv", [["--count", "x"], ["--all", "--count", "2"], ["--list", "--show", "a"]]
)
def test_argparse_refuses_the_rest(capsys, argv):
    with pytest.raises(SystemExit) as stopped:
        main(["quiz", *argv])
    assert stopped.value.code == 2


def test_a_place_that_cannot_be_written_is_refused_before_the_first_question(quiz, tmp_path):
    (tmp_path / "quiz.json").mkdir()
    code, out, err = quiz("\n3\n")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    (tmp_path / "quiz.json").rmdir()
    blocked = tmp_path / "file"
    blocked.write_text("")
    code, out, err = quiz("\n3\n", "--state", str(blocked / "quiz.json"))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_it_needs_numpy_alone():
    code = (
        "import io, sys\nsys.stdin = io.StringIO('')\nfrom npformer.cli import main\n"
        "main(['quiz', '--list', '--state', 'nowhere.json'])\n"
        "main(['quiz', '--show', 'masked-lm'])\nprint(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "npformer.exercises.quiz.deck" in loaded
    assert not loaded & {"matplotlib", "tokenizers", "safetensors", "tqdm", "threadpoolctl"}


def test_the_page_of_the_five_says_how_many_there_are():
    page = (DOCS / "interview.md").read_text("utf-8")
    others = len(CARDS) - len(THE_FIVE)
    assert f"these five and {others} more" in page
    assert f"这五道题和另外 {others} 道" in page
