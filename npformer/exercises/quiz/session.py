"""The dialogue: what is said, in both languages, and in which order."""

import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from textwrap import indent

from npformer.exercises.learn.layout import fill
from npformer.exercises.quiz.card import Card
from npformer.exercises.quiz.schedule import GRADES, State, graded, next_day
from npformer.exercises.quiz.state import load, save
from npformer.exercises.text import COLON, Text
from npformer.exercises.translation import message

Say = Callable[[str], None]
Read = Callable[[str], str | None]  # None: the end of the input, or the wish to stop
STOP = (None, "q")

ENTER = message("Enter shows the answer.")
ANSWER = message("Answer")
TRAP = message("Follow-up")


def ask(cards: Sequence[Card], path: Path, lang: str, today: date, say: Say, read: Read) -> bool:
    """Ask cards one by one and save each grade as it comes; tell whether all proofs held."""
    done, hold = 0, True
    for number, card in enumerate(cards, start=1):
        follow_up, its_answer = card.follow_up
        say(f"\n[{number}/{len(cards)}] {_name(card, lang)}\n")
        say(_paragraph(card.said["question"], lang))
        if read("\n" + ENTER.to(lang)) in STOP:
            break
        say(f"\n{ANSWER.to(lang)}\n{_paragraph(card.said['answer'], lang)}")
        say(f"\n{TRAP.to(lang)}\n{_paragraph(follow_up, lang)}")
        if read("\n" + ENTER.to(lang)) in STOP:
            break
        say("\n" + _paragraph(its_answer, lang))
        hold &= _prove(card, lang, say)
        grade = _grade(lang, say, read)
        if grade is None:
            break
        state = graded(load(path), card.id, grade, today)
        save(path, state)
        say(message("Again on {day}.", day=state[card.id].due).to(lang))
        done += 1
    total = message(
        "{done} of {asked} graded, kept in {path}.", done=done, asked=len(cards), path=path
    )
    say(f"\n{total.to(lang)}")
    return hold


def show(card: Card, lang: str, say: Say) -> bool:
    """Show a card from front and back, and tell whether its proof holds."""
    say(f"{_name(card, lang)}\n\n{_paragraph(card.said['question'], lang)}")
    for head, text in ((ANSWER, card.said["answer"]), (TRAP, card.said["trap"])):
        say(f"\n{head.to(lang)}\n{_paragraph(text, lang)}")
    return _prove(card, lang, say)


def listing(cards: Sequence[Card], state: State, lang: str) -> str:
    """Return a line for each card: id, day, question, under the topics."""
    lines = []
    for topic in dict.fromkeys(card.topic for card in cards):
        lines.append(Text(topic, f"{message(topic).zh}（{topic}）").to(lang))
        for card in (c for c in cards if c.topic == topic):
            day = f"{state[card.id].due}" if card.id in state else "-"
            lines.append(f"  {card.id:<28} {day:<10}  {card.said['question'].to(lang)}")
    number = len({card.topic for card in cards})
    topics = Text(f"{number} topic{'s' * (number != 1)}", f"{number} 个主题").to(lang)
    count = message(
        "{cards} cards in {topics}; the day is when one is due, - if it was never asked",
        cards=len(cards),
        topics=topics,
    )
    return "\n".join([*lines, count.to(lang)])


def nothing_due(cards: Sequence[Card], state: State, lang: str) -> str:
    """Say when the next of these cards is due."""
    day = next_day(cards, state)
    return message("Nothing is due before {day}; --all asks all the same.", day=day).to(lang)


def _prove(card: Card, lang: str, say: Say) -> bool:
    """Show the proof, run it, and tell whether it holds."""
    say(f"\n{message('Proof').to(lang)}\n{indent(card.proof, '    ')}\n")
    start = time.perf_counter()
    try:
        card.check()
    except Exception as error:  # whatever it is, the other cards can still be asked
        reason = f"{type(error).__name__} {error}".rstrip()
        fails = message("The proof FAILS: {reason}. Is the library changed?", reason=reason)
        say(fails.to(lang))
        return False
    seconds = time.perf_counter() - start
    say(message("The proof holds ({seconds:.2f} s).", seconds=seconds).to(lang))
    if card.exercises:
        say(_paragraph(message("Exercises: {ids}", ids=", ".join(card.exercises)), lang))
    if card.docs:
        say(message("More: {page} in the repository", page=f"docs/{card.docs}").to(lang))
    return True


def _grade(lang: str, say: Say, read: Read) -> int | None:
    """Ask until there is a grade; None means to stop."""
    grade = message("How well did you know it? 1 not, 2 hardly, 3 well, 4 at once:")
    while True:
        line = read(f"\n{grade.to(lang)}")
        if line in STOP:
            return None
        if line in {str(grade) for grade in GRADES}:
            return int(line)
        say(message("got {line!r}, expected 1, 2, 3, 4, or q to stop", line=line).to(lang))


def _name(card: Card, lang: str) -> str:
    return f"{message(card.topic).to(lang)}{COLON.to(lang)}{card.id}"


def _paragraph(text: Text, lang: str) -> str:
    return "\n".join(fill(text.to(lang)))
