"""WordPiece: words to pieces, the longest first."""

from npformer.data.wordpiece import split_word
from npformer.exercises.exercise import Case, Exercise, Misconception
from npformer.exercises.text import Text

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


def shortest_first(words, vocab):
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


def looked_up_without_marks(words, vocab):
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


def returned_without_marks(words, vocab):
    return [piece.removeprefix("##") for piece in wordpiece_by_hand(words, vocab)]


def wordpiece_by_hand(words, vocab):
    """Return the right pieces."""
    result = []
    for word in words:
        fits = len(word) <= 100
        result += longest_first(word, vocab, lambda _p, _r: ["[UNK]"]) if fits else ["[UNK]"]
    return result


def rest_unknown(words, vocab):
    result = []
    for word in words:
        fits = len(word) <= 100
        result += longest_first(word, vocab, lambda p, _r: [*p, "[UNK]"]) if fits else ["[UNK]"]
    return result


def rest_dropped(words, vocab):
    result = []
    for word in words:
        fits = len(word) <= 100
        result += longest_first(word, vocab, lambda p, _r: p) if fits else ["[UNK]"]
    return result


def letter_unknown(words, vocab):
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


def from_the_end(words, vocab):
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


def going_back(words, vocab):
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


def whole_words(words, vocab):
    return [word if word in vocab else "[UNK]" for word in words]


def without_a_limit(words, vocab):
    return [p for word in words for p in longest_first(word, vocab, lambda _p, _r: ["[UNK]"])]


WORDPIECE = Exercise(
    id="wordpiece",
    title=Text("WordPiece: the longest piece first", "WordPiece：最长匹配优先"),
    statement=Text(
        "Cut words into pieces of a vocabulary, as BERT's tokenizer does. For each word, from its "
        "beginning:\n\n"
        "- take the **longest** piece in `vocab` that the rest of the word begins with;\n"
        "- a piece that is not the first of its word stands in the vocabulary behind `##`, and is "
        "returned with it, as in `un`, `##aff`, `##able`;\n"
        "- go on behind it until the word is used up. A piece once taken is never given back;\n"
        "- if nothing fits somewhere, the **whole** word becomes the single piece `[UNK]`, and so "
        "does a word of more than 100 characters.\n\n"
        "`words` is a list of str that have been split at white space and punctuation already: none is "
        "empty, none has a `#`. `vocab` is a dict from piece to id, `[UNK]` among them. Return one list of str with the pieces of all words, "
        "in order; no words, no pieces.",
        "像 BERT 的分词器那样，把单词切成词表中的片段。对每个单词，从开头起：\n\n"
        "- 取 `vocab` 中与剩余部分开头相符的**最长**片段；\n"
        "- 不在词首的片段，在词表中以 `##` 开头，返回时也带着它，例如 `un`、`##aff`、`##able`；\n"
        "- 从该片段之后继续，直到单词用完。已经取走的片段不再退回；\n"
        "- 若某处没有片段相符，**整个**单词变成一个 `[UNK]`；超过 100 个字符的单词也是如此。\n\n"
        "`words` 是字符串列表，已按空白和标点切开，所以没有空串，也不含 `#`；`vocab` 是从片段到 id 的 dict，其中有 `[UNK]`。"
        "返回一个字符串列表，依次为所有单词的片段；没有单词则返回空列表。",
    ),
    reference=wordpiece,
    library=(split_word,),
    outputs=("pieces",),
    cases=wordpiece_cases,
    hints=(
        Text(
            "Keep where the rest of the word begins. Try ends from the right: the first piece that "
            "is in the vocabulary is the longest.",
            "记住剩余部分从哪里开始。终点从右往左试：第一个在词表里的片段就是最长的。",
        ),
        Text(
            "For a fixed start try `end = len(word), ..., start + 1`; the candidate is "
            "`word[start:end]`, with `##` before it if start > 0. Python's `for ... else` tells "
            "that nothing fitted.",
            "固定 start，依次试 `end = len(word), ..., start + 1`；候选是 `word[start:end]`，"
            "start > 0 时前面加 `##`。Python 的 `for ... else` 可以判断什么都没匹配上。",
        ),
        Text(
            "`while start < len(word)`: `for end in range(len(word), start, -1)`: "
            "`piece = ('##' if start else '') + word[start:end]`; if it is in vocab, append it, "
            "set `start = end` and break; `else`: the pieces of this word are `['[UNK]']` and the "
            "word is done.",
            "`while start < len(word)`：`for end in range(len(word), start, -1)`："
            "`piece = ('##' if start else '') + word[start:end]`；若在 vocab 中，则加入结果，"
            "`start = end` 并 break；`else`：这个单词的结果就是 `['[UNK]']`，到此为止。",
        ),
    ),
    misconceptions=(
        Misconception(
            "shortest-first",
            shortest_first,
            Text(
                "the shortest piece is taken: try the ends from the right, the longest first.",
                "取的是最短的片段：终点要从右往左试，最长的优先。",
            ),
        ),
        Misconception(
            "looked-up-without-##",
            looked_up_without_marks,
            Text(
                "inner pieces are looked up without `##`: `able` and `##able` are two entries of "
                "the vocabulary.",
                "查找词中片段时没有加 `##`：`able` 和 `##able` 是词表中不同的两项。",
            ),
        ),
        Misconception(
            "returned-without-##",
            returned_without_marks,
            Text(
                "the pieces are right but lack their `##`: return them as they stand in the "
                "vocabulary.",
                "片段是对的，但少了 `##`：应按词表中的写法返回。",
            ),
        ),
        Misconception(
            "rest-unknown",
            rest_unknown,
            Text(
                "the pieces found before the unknown rest are kept: the whole word is one [UNK].",
                "保留了未知部分之前已找到的片段：整个单词应是一个 [UNK]。",
            ),
        ),
        Misconception(
            "rest-dropped",
            rest_dropped,
            Text(
                "a rest that nothing fits is dropped: the whole word is one [UNK].",
                "匹配不上的剩余部分被丢掉了：整个单词应是一个 [UNK]。",
            ),
        ),
        Misconception(
            "letter-unknown",
            letter_unknown,
            Text(
                "an unknown character becomes [UNK] and the search goes on behind it: the whole "
                "word is one [UNK].",
                "未知字符变成 [UNK] 后又继续往下匹配：整个单词应是一个 [UNK]。",
            ),
        ),
        Misconception(
            "from-the-end",
            from_the_end,
            Text(
                "the pieces are taken from the end of the word: WordPiece begins at its beginning.",
                "片段是从词尾取的：WordPiece 从词首开始。",
            ),
        ),
        Misconception(
            "backtracking",
            going_back,
            Text(
                "a piece is given back for a shorter one when the rest fits nothing: the search is "
                "greedy, such a word is [UNK].",
                "剩余部分匹配不上时退回去换了更短的片段：这里是贪心搜索，这样的单词是 [UNK]。",
            ),
        ),
        Misconception(
            "whole-words-only",
            whole_words,
            Text(
                "only whole words are looked up: a word that is not in the vocabulary is cut into "
                "pieces first.",
                "只查了整个单词：不在词表中的单词要先切成片段。",
            ),
        ),
        Misconception(
            "no-limit",
            without_a_limit,
            Text(
                "words of more than 100 characters are cut too: they are [UNK].",
                "超过 100 个字符的单词也被切分了：它应是 [UNK]。",
            ),
        ),
    ),
    topic="encoder",
    tracks=("interview", "class"),
    difficulty=2,
    minutes=15,
    float32=False,
    docs="api.md",
)

EXERCISES = (WORDPIECE,)
