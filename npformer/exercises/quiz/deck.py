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
from npformer.exercises.text import Text

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
NAMES = {
    "attention": Text("attention", "注意力"),
    "masks": Text("masks", "掩码"),
    "efficiency": Text("efficiency", "注意力的效率"),
    "positions": Text("positions", "位置编码"),
    "blocks": Text("blocks", "层与模块"),
    "backprop": Text("backprop", "反向传播"),
    "bert": Text("bert", "BERT"),
    "optimization": Text("optimization", "优化"),
    "distillation": Text("distillation", "蒸馏"),
    "tinybert": Text("tinybert", "TinyBERT"),
    "compression": Text("compression", "模型压缩"),
}  # of the topics
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
