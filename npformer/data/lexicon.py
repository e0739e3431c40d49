"""The words and clauses of the embedded task; `npformer.data.reviews` puts them together.

In a clause, ``{n}`` is a noun, ``{a}`` an adjective (or two of one polarity), ``{v}`` a verb, ``{vd}``
its past tense and ``{q}`` a quality. All that a clause needs to mean is its sign: +1 if it says of
its noun what its opinion word says, -1 if it denies it.
"""

from typing import NamedTuple


class Words(NamedTuple):
    """Words of one polarity, or of none."""

    positive: list[str]
    negative: list[str]


class Domain(NamedTuple):
    """A kind of place or thing, its parts, and adjectives that only fit there."""

    nouns: list[str]
    adjectives: Words


DOMAINS = (
    Domain(
        nouns="food soup bread menu waiter kitchen dessert coffee breakfast wine sauce salad steak "
        "pasta terrace chef pizza curry".split(),
        adjectives=Words(
            "delicious tasty fresh juicy crisp flavourful mouthwatering hearty".split(),
            "bland stale greasy soggy burnt tasteless rancid undercooked".split(),
        ),
    ),
    Domain(
        nouns="film plot acting script ending cast soundtrack dialogue direction story camerawork "
        "pacing opening villain hero sequel scenery editing".split(),
        adjectives=Words(
            "gripping moving witty suspenseful touching hilarious poetic absorbing".split(),
            "predictable boring shallow wooden pretentious tedious contrived corny".split(),
        ),
    ),
    Domain(
        nouns="kettle screen battery keyboard handle manual charger motor lid cable case speaker "
        "software camera packaging strap filter switch".split(),
        adjectives=Words(
            "sturdy reliable handy durable efficient robust precise ergonomic".split(),
            "flimsy faulty clumsy fragile wobbly defective impractical rusty".split(),
        ),
    ),
    Domain(
        nouns="room bed view pool lobby bathroom reception balcony shower garden gym sauna lift "
        "neighbourhood mattress concierge hallway lounge".split(),
        adjectives=Words(
            "cosy spotless comfortable peaceful spacious quiet inviting elegant".split(),
            "filthy noisy cramped damp shabby mouldy smelly gloomy".split(),
        ),
    ),
)

ADJECTIVES = Words(
    "good great excellent wonderful superb lovely fantastic brilliant splendid delightful "
    "marvellous pleasant impressive outstanding perfect charming magnificent terrific fabulous "
    "remarkable admirable enjoyable satisfying stunning".split(),
    "bad terrible awful horrible dreadful poor disappointing mediocre lousy unpleasant abysmal "
    "atrocious annoying appalling pathetic miserable nasty frustrating hopeless dismal shoddy "
    "unbearable inferior disgraceful".split(),
)
QUALITIES = Words(
    "charm style character appeal merits strengths virtues class".split(),
    "flaws faults problems defects weaknesses shortcomings drawbacks errors".split(),
)
# Each verb with its past tense.
VERBS = Words(
    "love/loved enjoy/enjoyed like/liked adore/adored admire/admired praise/praised "
    "recommend/recommended appreciate/appreciated".split(),
    "hate/hated dislike/disliked detest/detested loathe/loathed despise/despised "
    "regret/regretted resent/resented deplore/deplored".split(),
)
# They strengthen or weaken an adjective and never turn it round. Some go with any adjective; others,
# as in real text, keep company with one polarity, which is how unlabelled text betrays it.
INTENSIFIERS = "very really quite rather fairly extremely somewhat incredibly".split()
COMPANIONS = Words(
    "truly wonderfully beautifully refreshingly pleasantly genuinely".split(),
    "painfully utterly hopelessly needlessly terribly dreadfully".split(),
)
PEOPLE = (
    "my sister/my brother/my neighbour/my boss/the critics/a friend/my parents/the guide/"
    "a colleague/my cousin/the papers/my uncle/our driver/a blogger/my flatmate/the locals"
).split("/")

# Clauses in which the speaker, or a group with the speaker in it, says what the opinion word says.
# Some hold a negation that does not reach the opinion word, or two that undo each other.
AFFIRMED = (
    "the {n} was {a}",
    "i found the {n} {a}",
    "the {n} nobody mentioned was {a}",
    "no doubt the {n} was {a}",
    "the {n} was nothing but {a}",
    "i {vd} the {n}",
    "the {n} had some {q}",
    "the {n} was not without {q}",
)
DENIED = (
    "the {n} was not {a}",
    "i never found the {n} {a}",
    "the {n} everybody mentioned was hardly {a}",
    "nobody found the {n} {a}",
    "the {n} was anything but {a}",
    "i did not {v} the {n}",
    "the {n} had no {q}",
    "the {n} was without {q}",
)
# Opinions on what is not under review.
ASIDES = (
    "the weather was {a}",
    "the traffic was {a}",
    "the drive there was {a}",
    "the shop next door was {a}",
    "the taxi was {a}",
    "my phone had been {a}",
    "the news was {a}",
    "my holiday had been {a}",
)
# No opinion at all, negated or not.
NEUTRAL = (
    "it was a monday",
    "it was my first time",
    "we did not stay long",
    "i paid by card",
    "nobody took my name",
    "it had been a gift",
    "i went alone",
    "we arrived late",
)
AGREED = (
    "i agreed",
    "they were right",
    "i thought so too",
    "i felt the same",
    "that was true",
    "i could not agree more",
    "they were not wrong",
    "i never doubted it",
)
DISAGREED = (
    "i disagreed",
    "they were wrong",
    "i thought otherwise",
    "i felt the opposite",
    "that was a lie",
    "i could not agree",
    "they were not right",
    "i never believed it",
)
