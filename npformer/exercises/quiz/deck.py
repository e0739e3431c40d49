"""All cards, in an order that teaches."""

import importlib

from npformer.checks import InputError
from npformer.exercises.lookup import by_id
from npformer.exercises.quiz.card import Card

# The files of the folder cards, each with its cards in order.
FILES = """
    attention attention_design masks efficiency positions blocks backprop backprop_layers bert
    optimization distillation distillation_models tinybert compression
"""
_MODULES = [importlib.import_module(f"npformer.exercises.quiz.cards.{f}") for f in FILES.split()]
CARDS: tuple[Card, ...] = tuple(
    value for module in _MODULES for value in vars(module).values() if isinstance(value, Card)
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
