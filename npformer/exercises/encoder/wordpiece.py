"""WordPiece: words to pieces, the longest first."""

from npformer.data.wordpiece import split_word
from npformer.exercises.exercise import Case, Exercise

LETTERS = "abcdefghijklmnopqrstuvwxyz"


PIECES = "[UNK] un una play a ##aff ##able ##ff ##a ##ing ##ed ##e ##d 电 ##影".split()


def wordpiece(words, vocab):
    """Return the pieces of all words, in order: a list of str.

    words: a list of str; vocab: a dict from piece to id.
    """
    from npformer.data.wordpiece import split_word

    return [piece for word in words for piece in split_word(word, vocab)]


def wordpiece_cases(rng):
    """Return words of a small vocabulary, whose letters are exchanged at random."""

    def renamed(text, letters):
        return text.translate(str.maketrans(LETTERS, letters))

    def case(words, letters=LETTERS, part=""):
        pieces = [p if p == "[UNK]" else renamed(p, letters) for p in PIECES]
        vocab = {piece: i for i, piece in enumerate(rng.permutation(pieces).tolist())}
        return Case({"words": [renamed(word, letters) for word in words], "vocab": vocab}, part)

    def shuffled():
        return "".join(rng.permutation(list(LETTERS)))

    def made_up(count):
        """Words of two letters, of which a random vocabulary knows some."""

        def strings(number, longest):
            sizes = rng.integers(1, longest + 1, size=number)
            return ["".join(rng.choice(list("ab"), size=size)) for size in sizes]

        pieces = {*strings(5, 3), *(f"##{p}" for p in strings(7, 3))}
        vocab = {piece: i for i, piece in enumerate(["[UNK]", *sorted(pieces)])}
        return Case({"words": strings(count, 7), "vocab": vocab})

    return [
        case(["unaff", "playing"]),
        case(["a", "play", "una", "unaffable", "played", "playa"], shuffled()),
        made_up(40),
        case(
            ["unable", "able", "playable", "ing", "untie", "playtime", "q"],
            shuffled(),
            "unknown words",
        ),
        case(["una" + "a" * n for n in (96, 97, 98, 150)], part="long words"),
        case(["电影", "电", "影", "play电"], part="Chinese characters"),
        case([], part="no words"),
    ]


def longest_first(word, vocab, unknown):
    """Return the pieces, or what ``unknown(pieces, rest)`` makes of a rest that nothing fits."""
    pieces, start = [], 0
    while start < len(word):
        before = "##" if start else ""
        for end in range(len(word), start, -1):
            if before + word[start:end] in vocab:
                pieces.append(before + word[start:end])
                start = end
                break
        else:
            return unknown(pieces, word[start:])
    return pieces


def wordpiece_by_hand(words, vocab):
    """Return the right pieces."""
    result = []
    for word in words:
        fits = len(word) <= 100
        result += longest_first(word, vocab, lambda _p, _r: ["[UNK]"]) if fits else ["[UNK]"]
    return result


WORDPIECE = Exercise(
    id="wordpiece",
    title="WordPiece: the longest piece first",
    statement="""
        Cut words into pieces of a vocabulary, as BERT's tokenizer does. For each word, from its
        beginning:

        - take the **longest** piece in `vocab` that the rest of the word begins with;
        - a piece that is not the first of its word stands in the vocabulary behind `##`, and is
          returned with it, as in `un`, `##aff`, `##able`;
        - go on behind it until the word is used up. A piece once taken is never given back;
        - if nothing fits somewhere, the **whole** word becomes the single piece `[UNK]`, and so
          does a word of more than 100 characters.

        `words` is a list of str that have been split at white space and punctuation already: none
        is empty, none has a `#`. `vocab` is a dict from piece to id, `[UNK]` among them. Return one
        list of str with the pieces of all words, in order; no words, no pieces.""",
    reference=wordpiece,
    library=(split_word,),
    outputs=("pieces",),
    cases=wordpiece_cases,
    hints=(
        """Keep where the rest of the word begins. Try ends from the right: the first piece that is
        in the vocabulary is the longest.""",
        """For a fixed start try `end = len(word), ..., start + 1`; the candidate is
        `word[start:end]`, with `##` before it if start > 0. Python's `for ... else` tells that
        nothing fitted.""",
        """`while start < len(word)`: `for end in range(len(word), start, -1)`: `piece =
        ('##' if start else '') + word[start:end]`; if it is in vocab, append it, set `start = end`
        and break; `else`: the pieces of this word are `['[UNK]']` and the word is done.""",
    ),
    tracks=("interview", "class"),
    difficulty=2,
    minutes=15,
    float32=False,
    docs="api.md",
)


@WORDPIECE.mistake("shortest-first")
def shortest_first(words, vocab):
    """the shortest piece is taken: try the ends from the right, the longest first."""
    result = []
    for word in words:
        pieces, start = [], 0
        while start < len(word) <= 100:
            before = "##" if start else ""
            for end in range(start + 1, len(word) + 1):
                if before + word[start:end] in vocab:
                    pieces.append(before + word[start:end])
                    start = end
                    break
            else:
                pieces, start = ["[UNK]"], len(word)
        result += pieces if len(word) <= 100 else ["[UNK]"]
    return result


@WORDPIECE.mistake("looked-up-without-##")
def looked_up_without_marks(words, vocab):
    """inner pieces are looked up without `##`: `able` and `##able` are two entries of the
    vocabulary."""
    result = []
    for word in words:
        pieces, start = [], 0
        while start < len(word) <= 100:
            for end in range(len(word), start, -1):
                if word[start:end] in vocab:
                    pieces.append("##" * (start > 0) + word[start:end])
                    start = end
                    break
            else:
                pieces, start = ["[UNK]"], len(word)
        result += pieces if len(word) <= 100 else ["[UNK]"]
    return result


@WORDPIECE.mistake("returned-without-##")
def returned_without_marks(words, vocab):
    """the pieces are right but lack their `##`: return them as they stand in the vocabulary."""
    return [piece.removeprefix("##") for piece in wordpiece_by_hand(words, vocab)]


@WORDPIECE.mistake("rest-unknown")
def rest_unknown(words, vocab):
    """the pieces found before the unknown rest are kept: the whole word is one [UNK]."""
    result = []
    for word in words:
        fits = len(word) <= 100
        result += longest_first(word, vocab, lambda p, _r: [*p, "[UNK]"]) if fits else ["[UNK]"]
    return result


@WORDPIECE.mistake("rest-dropped")
def rest_dropped(words, vocab):
    """a rest that nothing fits is dropped: the whole word is one [UNK]."""
    result = []
    for word in words:
        fits = len(word) <= 100
        result += longest_first(word, vocab, lambda p, _r: p) if fits else ["[UNK]"]
    return result


@WORDPIECE.mistake("letter-unknown")
def letter_unknown(words, vocab):
    """an unknown character becomes [UNK] and the search goes on behind it: the whole word is one
    [UNK]."""
    result = []
    for word in words:
        start = 0
        while start < len(word) <= 100:
            before = "##" if start else ""
            for end in range(len(word), start, -1):
                if before + word[start:end] in vocab:
                    result.append(before + word[start:end])
                    break
            else:
                end = start + 1
                result.append("[UNK]")
            start = end
        result += ["[UNK]"] * (len(word) > 100)
    return result


@WORDPIECE.mistake("from-the-end")
def from_the_end(words, vocab):
    """the pieces are taken from the end of the word: WordPiece begins at its beginning."""
    result = []
    for word in words:
        pieces, end = [], len(word)
        while end > 0 and len(word) <= 100:
            for start in range(end):
                piece = "##" * (start > 0) + word[start:end]
                if piece in vocab:
                    pieces.insert(0, piece)
                    end = start
                    break
            else:
                pieces, end = ["[UNK]"], 0
        result += pieces if len(word) <= 100 else ["[UNK]"]
    return result


@WORDPIECE.mistake("backtracking")
def going_back(words, vocab):
    """a piece is given back for a shorter one when the rest fits nothing: the search is greedy,
    such a word is [UNK]."""

    def split(word, start):
        if start == len(word):
            return []
        before = "##" if start else ""
        for end in range(len(word), start, -1):
            rest = split(word, end) if before + word[start:end] in vocab else None
            if rest is not None:
                return [before + word[start:end], *rest]
        return None

    found = [split(word, 0) if len(word) <= 100 else None for word in words]
    return [piece for pieces in found for piece in (pieces if pieces is not None else ["[UNK]"])]


@WORDPIECE.mistake("whole-words-only")
def whole_words(words, vocab):
    """only whole words are looked up: a word that is not in the vocabulary is cut into pieces
    first."""
    return [word if word in vocab else "[UNK]" for word in words]


@WORDPIECE.mistake("no-limit")
def without_a_limit(words, vocab):
    """words of more than 100 characters are cut too: they are [UNK]."""
    return [p for word in words for p in longest_first(word, vocab, lambda _p, _r: ["[UNK]"])]
