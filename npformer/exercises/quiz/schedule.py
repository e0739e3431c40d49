"""When a card comes again: Leitner's boxes.

A card that is known moves to a box that is opened less often; one that is not goes back to the
first. Everything here is a pure function of the reviews so far, the date and the grade.

References
----------
Leitner 1972, "So lernt man lernen". Deviations: seven boxes instead of five, with intervals in
days; a card known at once skips a box.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from npformer.checks import InputError
from npformer.exercises.quiz.card import Card

DAYS = (0, 1, 3, 7, 16, 35, 90)  # until a card of each box is due again
GRADES = (1, 2, 3, 4)  # not known, hardly, known, at once


class Review(NamedTuple):
    """Where a card stands."""

    box: int  # an index into `DAYS`
    due: date


State = Mapping[str, Review]  # by the card's id; a card never asked is not in it


def graded(state: State, card_id: str, grade: int, today: date) -> dict[str, Review]:
    """Return the state after a card was asked; the one given is left as it is.

    Grade 1 puts the card into the first box: it is due again on the same day. 2 leaves it where it
    is, but for the first box; 3 moves it one box on, 4 two.

    Raises
    ------
    InputError
        If the grade is not one of `GRADES`.
    """
    if grade not in GRADES:
        raise InputError(f"grade: got {grade!r}, expected 1, 2, 3 or 4")
    box = state[card_id].box if card_id in state else 0
    box = (0, max(1, box), box + 1, box + 2)[grade - 1]
    box = min(box, len(DAYS) - 1)
    return {**state, card_id: Review(box, today + timedelta(days=DAYS[box]))}


def due(cards: Sequence[Card], state: State, today: date) -> list[Card]:
    """Return the cards to ask: first those whose day has come, the longest due first; then new."""
    waiting = [card for card in cards if card.id in state and state[card.id].due <= today]
    new = [card for card in cards if card.id not in state]
    return sorted(waiting, key=lambda card: state[card.id].due) + new


def next_day(cards: Sequence[Card], state: State) -> date:
    """Return the first day on which one of these cards is due; each must have been asked."""
    return min(state[card.id].due for card in cards)
