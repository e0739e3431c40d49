"""All cards, in an order that teaches."""

from npformer.checks import InputError
from npformer.exercises.lookup import by_id
from npformer.exercises.quiz.card import Card
from npformer.exercises.quiz.cards import (
    attention,
    backprop,
    bert,
    blocks,
    compression,
    distillation,
    efficiency,
    masks,
    optimization,
    positions,
    tinybert,
)

CARDS: tuple[Card, ...] = (
    *attention.CARDS,
    *masks.CARDS,
    *efficiency.CARDS,
    *positions.CARDS,
    *blocks.CARDS,
    *backprop.CARDS,
    *bert.CARDS,
    *optimization.CARDS,
    *distillation.CARDS,
    *tinybert.CARDS,
    *compression.CARDS,
)
TOPICS: tuple[str, ...] = tuple(dict.fromkeys(card.topic for card in CARDS))


def find(card_id: str) -> Card:
    """Return the card of this id.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    return by_id(CARDS, card_id, "a card")


def of_topic(topic: str | None) -> tuple[Card, ...]:
    """Return the cards of a topic; None means all.

    Raises
    ------
    InputError
        If there is no such topic.
    """
    if topic is not None and topic not in TOPICS:
        raise InputError(f"topic: got {topic!r}, expected one of {', '.join(TOPICS)}")
    return tuple(card for card in CARDS if topic in (None, card.topic))


def of_exercise(exercise_id: str) -> tuple[Card, ...]:
    """Return the cards that ask about what an exercise practises."""
    return tuple(card for card in CARDS if exercise_id in card.exercises)
