"""The embedded task: review sentences whose sentiment depends on their structure.

Counting words does not solve it. A sentence joins two clauses in a *frame*, and its label is the
speaker's own verdict on the thing under review:

- a negation turns an opinion round, but only within its scope ("the plot nobody mentioned was
  gripping"), and some only look like one ("nothing but gripping");
- after "but", and outside "although" and "even though", stands the clause that counts;
- what others say counts only as far as the speaker agrees;
- intensifiers, neutral clauses and opinions on other things (the weather) change nothing.

In unlabelled text the same rules tie the words of a sentence to each other, so that a masked
language model can find out, without a label, which words are of one polarity; plain lists of praise
or blame, which the labelled splits lack, make that easy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npformer.checks import InputError
from npformer.data import lexicon
from npformer.data.glue import Examples, Task

LABEL_NAMES = ("negative", "positive")
# A combination of two clauses in a frame belongs to one of six groups: the splits share no group.
GROUPS = {"dev": (0,), "test": (1,), "train": (2, 3, 4, 5), "unlabelled": (2, 3, 4, 5)}
P_DENIED = 0.2  # clauses of opinion that negate their opinion word
P_PLAIN = 0.4  # unlabelled sentences without any turn


@dataclass(frozen=True)
class Slot:
    """One half of a frame.

    Parameters
    ----------
    kind : str
        A key of `CLAUSES`.
    sign : int
        Its opinion relative to the label: +1 the same, -1 the opposite, 0 unrelated.
    """

    kind: str
    sign: int


@dataclass(frozen=True)
class Frame:
    """A way to join two clauses.

    Parameters
    ----------
    pattern : str
        ``{x}`` and ``{y}`` are the clauses, ``{who}`` is somebody else.
    x, y : Slot
    """

    pattern: str
    x: Slot
    y: Slot


# For each kind of slot its clauses, the affirmed ones and then the denied ones.
CLAUSES = {
    "own": (lexicon.AFFIRMED, lexicon.DENIED),
    "aside": (lexicon.ASIDES, ()),
    "neutral": (lexicon.NEUTRAL, ()),
    "agreed": (lexicon.AGREED, ()),
    "disagreed": (lexicon.DISAGREED, ()),
}
# Opinions that contradict the label offset those that share it: counting words tells little.
SAME, OPPOSITE = Slot("own", +1), Slot("own", -1)
FRAMES = (
    Frame("{x} and {y}", SAME, SAME),
    Frame("{x} but {y}", OPPOSITE, SAME),
    Frame("although {x} , {y}", OPPOSITE, SAME),
    Frame("{x} , even though {y}", SAME, OPPOSITE),
    Frame("{who} said that {x} , but {y}", OPPOSITE, SAME),
    Frame("{x} , whereas {who} said that {y}", SAME, OPPOSITE),
    Frame("{who} said that {x} and {y}", SAME, Slot("agreed", 0)),
    Frame("{who} said that {x} but {y}", OPPOSITE, Slot("disagreed", 0)),
    Frame("{x} and {y}", Slot("neutral", 0), SAME),
    Frame("{x} and {y}", Slot("aside", 0), SAME),
    Frame("{who} promised that {x} but {y}", OPPOSITE, Slot("disagreed", 0)),
)


def generate_reviews(
    *, labelled: int, unlabelled: int, dev: int = 1000, test: int = 1000, seed: int
) -> Task:
    """Generate the task: every split half positive, no sentence in two of them or twice in one.

    ``dev`` and ``test`` hold combinations (frame, first clause, second clause) that neither the
    labelled nor the unlabelled sentences show, though these show each clause in each place of each
    frame. A smaller ``labelled`` gives the first sentences of a larger one.

    Parameters
    ----------
    labelled, unlabelled, dev, test : int
        The sizes of the splits; ``labelled`` is that of ``train``.
    seed : int

    Returns
    -------
    Task
    """
    sizes = {"labelled": labelled, "unlabelled": unlabelled, "dev": dev, "test": test}
    for name, size in sizes.items():
        if size < 0:
            raise InputError(f"{name}: got {size} sentences, expected 0 or more")
    seen: set[str] = set()
    dev_split = _split("dev", dev, seed, 0, seen)
    test_split = _split("test", test, seed, 1, seen)
    train_split = _split("train", labelled, seed, 2, seen)
    more = _split("unlabelled", unlabelled, seed, 3, seen)
    return Task(
        "reviews", train_split, dev_split, test_split, "classification", LABEL_NAMES, more.first
    )


def _split(name: str, size: int, seed: int, stream: int, seen: set[str]) -> Examples:
    rng = np.random.default_rng([seed, stream])
    texts: list[str] = []
    labels = np.arange(size) % 2
    while len(texts) < size:
        verdict = 1 if labels[len(texts)] else -1
        if name == "unlabelled" and rng.random() < P_PLAIN:
            text = _plain(rng, int(verdict < 0))
        else:
            text = _sentence(rng, verdict, GROUPS[name])
        if text not in seen:
            seen.add(text)
            texts.append(text)
    return Examples(texts, None, labels)


def _plain(rng: np.random.Generator, polarity: int) -> str:
    """Return a list of praise or of blame."""
    domain = lexicon.DOMAINS[rng.integers(len(lexicon.DOMAINS))]
    n, m, o = (domain.nouns[i] for i in rng.permutation(len(domain.nouns))[:3])
    words = lexicon.ADJECTIVES[polarity] + domain.adjectives[polarity]
    a, b, c = (_adjective(rng, words, polarity) for _ in range(3))
    return _pick(rng, lexicon.PLAIN).format(n=n, m=m, o=o, a=a, b=b, c=c)


def _sentence(rng: np.random.Generator, verdict: int, groups: tuple[int, ...]) -> str:
    """Return a sentence whose verdict is +1 or -1."""
    f = int(rng.integers(len(FRAMES)))
    frame = FRAMES[f]
    denied = rng.random(2) < P_DENIED
    while True:  # until the combination is one of the split's
        i, clause_x = _choose(rng, frame.x, denied[0])
        j, clause_y = _choose(rng, frame.y, denied[1])
        if (f + i + j) % 6 in groups:
            break
    domain = lexicon.DOMAINS[rng.integers(len(lexicon.DOMAINS))]
    first, second = rng.permutation(len(domain.nouns))[:2]
    return frame.pattern.format(
        who=_pick(rng, lexicon.PEOPLE),
        x=_fill(
            rng, clause_x, domain.nouns[first], _polarity(rng, frame.x, denied[0], verdict), domain
        ),
        y=_fill(
            rng, clause_y, domain.nouns[second], _polarity(rng, frame.y, denied[1], verdict), domain
        ),
    )


def _choose(rng: np.random.Generator, slot: Slot, denied: bool) -> tuple[int, str]:
    """Return a clause for the slot and its number among all of the slot's kind."""
    affirmed, negated = CLAUSES[slot.kind]
    if denied and negated:
        k = int(rng.integers(len(negated)))
        return len(affirmed) + k, negated[k]
    k = int(rng.integers(len(affirmed)))
    return k, affirmed[k]


def _polarity(rng: np.random.Generator, slot: Slot, denied: bool, verdict: int) -> int:
    """Return the polarity of the opinion word: 0 in `lexicon.Words` is positive, 1 negative."""
    sign = slot.sign * verdict or int(rng.choice([-1, 1]))
    return int(sign * (-1 if denied and CLAUSES[slot.kind][1] else 1) < 0)


def _fill(
    rng: np.random.Generator, clause: str, noun: str, polarity: int, domain: lexicon.Domain
) -> str:
    words = lexicon.ADJECTIVES[polarity]
    if "{n}" in clause:
        words = words + domain.adjectives[polarity]
    adjective = _adjective(rng, words, polarity)
    verb, past = _pick(rng, lexicon.VERBS[polarity]).split("/")
    quality = _pick(rng, lexicon.QUALITIES[polarity])
    if rng.random() < 0.6:
        companion = _pick(rng, lexicon.COMPANIONS[polarity])
        verb, past = f"{companion} {verb}", f"{companion} {past}"
        quality = f"{_pick(rng, lexicon.ADJECTIVES[polarity])} {quality}"
    return clause.format(n=noun, a=adjective, v=verb, vd=past, q=quality)


def _adjective(rng: np.random.Generator, words: list[str], polarity: int) -> str:
    """Return an adjective, perhaps with an adverb or with another one of its polarity."""
    adjective = _pick(rng, words)
    how = rng.random()
    if how < 0.6:
        adjective = f"{_pick(rng, lexicon.COMPANIONS[polarity])} {adjective}"
    elif how < 0.7:
        adjective = f"{_pick(rng, lexicon.INTENSIFIERS)} {adjective}"
    elif how < 0.8:
        adjective = f"{adjective} and {_pick(rng, words)}"
    return adjective


def _pick(rng: np.random.Generator, words: Sequence[str]) -> str:
    return words[int(rng.integers(len(words)))]
