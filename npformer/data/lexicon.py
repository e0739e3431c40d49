"""The words and clauses of the embedded task; `npformer.data.reviews` puts them together.

In a clause, ``{n}`` is a noun, ``{a}`` an adjective (or two of one polarity), ``{v}`` a verb,
``{vd}`` its past tense and ``{q}`` a quality.
"""

from typing import NamedTuple


class Words(NamedTuple):
    """Words of one polarity, or of none."""

    positive: list[str]
    negative: list[str]


def _words(text: str) -> list[str]:
    return text.split()


class Domain(NamedTuple):
    """A kind of place or thing, its parts, and adjectives that only fit there."""

    nouns: list[str]
    adjectives: Words


DOMAINS = (
    Domain(
        nouns=_words(
            "food soup bread menu waiter kitchen dessert coffee breakfast wine sauce salad "
            "steak pasta terrace chef pizza curry"
        ),
        adjectives=Words(_words("delicious tasty fresh juicy"), _words("bland stale greasy soggy")),
    ),
    Domain(
        nouns=_words(
            "film plot acting script ending cast soundtrack dialogue direction story "
            "camerawork pacing opening villain hero sequel scenery editing"
        ),
        adjectives=Words(
            _words("gripping moving witty touching"), _words("predictable boring shallow wooden")
        ),
    ),
    Domain(
        nouns=_words(
            "kettle screen battery keyboard handle manual charger motor lid cable case "
            "speaker software camera packaging strap filter switch"
        ),
        adjectives=Words(
            _words("sturdy reliable handy durable"), _words("flimsy faulty clumsy wobbly")
        ),
    ),
    Domain(
        nouns=_words(
            "room bed view pool lobby bathroom reception balcony shower garden gym sauna lift "
            "neighbourhood mattress concierge hallway lounge"
        ),
        adjectives=Words(
            _words("cosy spotless peaceful spacious"), _words("filthy noisy cramped damp")
        ),
    ),
)

ADJECTIVES = Words(
    _words("good great excellent wonderful superb lovely brilliant perfect"),
    _words("bad terrible awful horrible dreadful poor lousy miserable"),
)
QUALITIES = Words(
    _words("charm style character appeal merits strengths"),
    _words("flaws faults problems defects weaknesses errors"),
)
# Each verb with its past tense.
VERBS = Words(
    _words("love/loved enjoy/enjoyed like/liked adore/adored admire/admired praise/praised"),
    _words(
        "hate/hated dislike/disliked detest/detested loathe/loathed regret/regretted mock/mocked"
    ),
)
# They strengthen or weaken an adjective and never turn it round. Some go with any adjective; others
# keep company with one polarity, as in real text, which is how unlabelled text betrays it.
INTENSIFIERS = _words("very really quite rather fairly extremely somewhat incredibly")
COMPANIONS = Words(
    _words("truly wonderfully beautifully refreshingly genuinely"),
    _words("painfully utterly hopelessly needlessly terribly"),
)
PEOPLE = [
    *("my sister", "my brother", "my neighbour", "my boss", "the critics", "a friend"),
    *("my parents", "the guide", "a colleague", "my cousin", "the papers", "my uncle"),
    *("our driver", "a blogger", "my flatmate", "the locals"),
]

# Praise or blame without any turn: the three nouns fare alike.
PLAIN = (
    "the {n} was {a} , the {m} {b} and the {o} {c}",
    "{n} {a} , {m} {b} , {o} {c}",
    "i remember the {a} {n} , the {b} {m} and the {c} {o}",
)

# Clauses in which the speaker, or a group with the speaker in it, says what the opinion word says.
# Some hold a negation that does not reach the opinion word, or two that undo each other.
AFFIRMED = (
    "the {n} was {a}",
    "i found the {n} {a}",
    "the {n} nobody mentioned was {a}",
    "the {n} was nothing but {a}",
    "i {vd} the {n}",
    "the {n} had some {q}",
)
DENIED = (
    "the {n} was not {a}",
    "i never found the {n} {a}",
    "nobody found the {n} {a}",
    "the {n} was anything but {a}",
    "i did not {v} the {n}",
    "the {n} had no {q}",
)
# Opinions on what is not under review.
ASIDES = (
    "the weather was {a}",
    "the traffic was {a}",
    "the shop next door was {a}",
    "the taxi was {a}",
    "my phone had been {a}",
    "the news was {a}",
)
# No opinion at all, negated or not.
NEUTRAL = (
    "it was a monday",
    "it was my first time",
    "we did not stay long",
    "i paid by card",
    "nobody took my name",
    "it had been a gift",
)
AGREED = (
    "i agreed",
    "they were right",
    "i thought so too",
    "that was true",
    "they were not wrong",
    "i never doubted it",
)
DISAGREED = (
    "i disagreed",
    "they were wrong",
    "i thought otherwise",
    "that was a lie",
    "they were not right",
    "i never believed it",
)
