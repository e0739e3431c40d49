"""One vocabulary for both sides of a translation: characters, BPE or WordPiece.

Nothing is lower-cased or lost: decoding gives back the text. The ``tokenizers`` library is
imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.data.pairs import EncodedPairs, Pairs
from npformer.types import IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KINDS = ("char", "bpe", "wordpiece")
SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
CHARACTER = r"[\s\S]"
CHINESE = r"[\u3400-\u4dbf\u4e00-\u9fff\u3000-\u303f\uff00-\uffef]"  # each one is a word


class SequenceIds(NamedTuple):
    """The ids of the special tokens."""

    pad: int
    start: int
    end: int
    unk: int


def train_vocabulary(texts: Sequence[str], kind: str, vocab_size: int) -> Tokenizer:
    """Make a vocabulary of these texts.

    Parameters
    ----------
    texts : sequence of str
        Both sides of the training pairs.
    kind : str
        "char": every character is a token. "bpe" and "wordpiece": pieces of words, whose
        space is part of their first piece, and every Chinese character a word of its own.
    vocab_size : int
        At most, for pieces; characters are as many as there are.

    Returns
    -------
    tokenizers.Tokenizer

    Raises
    ------
    InputError
        If the kind is unknown or there is no text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if kind not in KINDS:
        raise InputError(f"vocab: got {kind!r}, expected one of {', '.join(KINDS)}")
    if not any(texts):
        raise InputError("texts: got no characters, expected text to make a vocabulary of")
    if kind == "char":
        characters = sorted({c for text in texts for c in text})
        vocab = {token: i for i, token in enumerate((*SPECIAL_TOKENS, *characters))}
        tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTER), "isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
        return tokenizer
    splitter = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Split(Regex(CHINESE), "isolated"),
        ]
    )
    spaces = decoders.Metaspace(prepend_scheme="first")
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.decoder = spaces
        trainer: trainers.Trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.decoder = decoders.Sequence([decoders.Replace(Regex("^##"), ""), spaces])
        # Numbered here, as in `npformer.data.tokenizer.train_wordpiece`: the library's own order is
        # another one in every process.
        inner = {c for t in texts for word, _ in splitter.pre_tokenize_str(t) for c in word[1:]}
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            special_tokens=[*SPECIAL_TOKENS, *(f"##{c}" for c in sorted(inner))],
            show_progress=False,
        )
    tokenizer.pre_tokenizer = splitter
    tokenizer.train_from_iterator(texts, trainer)
    if kind == "wordpiece":
        model = models.WordPiece(tokenizer.get_vocab(), unk_token="<unk>")
        clean = Tokenizer(model)  # the pieces "##c" are special no longer
        clean.pre_tokenizer, clean.decoder = splitter, tokenizer.decoder
        clean.add_special_tokens(list(SPECIAL_TOKENS))
        return clean
    return tokenizer


def load_vocabulary(path: Path) -> Tokenizer:
    """Read the ``tokenizer.json`` of a translation model.

    Raises
    ------
    InputError
        If there is no such file, or it holds something else.
    """
    from tokenizers import Tokenizer

    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a vocabulary")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise InputError(f"{path}: not a tokenizer.json ({error})") from error
    sequence_ids(tokenizer)
    return tokenizer


def sequence_ids(tokenizer: Tokenizer) -> SequenceIds:
    """Look the special tokens up by name.

    Raises
    ------
    InputError
        If one of them is missing.
    """
    ids = [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]
    if None in ids:
        missing = SPECIAL_TOKENS[ids.index(None)]
        raise InputError(f"tokenizer: {missing} is missing, expected a translation vocabulary")
    return SequenceIds(*(int(i) for i in ids if i is not None))


def encode_texts(
    tokenizer: Tokenizer, texts: Sequence[str], *, max_len: int, name: str
) -> list[IntArray]:
    """Return the ids of each text, ending with ``</s>``.

    Raises
    ------
    InputError
        If a text is empty, or longer than ``max_len`` with its end; ``name`` says of what.
    """
    end = sequence_ids(tokenizer).end
    rows: list[IntArray] = []
    for i, encoding in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        if not encoding.ids:
            raise InputError(f"{name} {i + 1}: got an empty text, expected at least a character")
        if len(encoding.ids) >= max_len:
            raise InputError(
                f"{name} {i + 1}: got {len(encoding.ids) + 1} tokens with the end, expected at "
                f"most max_len = {max_len} ({texts[i][:40]!r})"
            )
        rows.append(np.array([*encoding.ids, end], dtype=np.int64))
    return rows


def encode_pairs(tokenizer: Tokenizer, pairs: Pairs, *, max_len: int, name: str) -> EncodedPairs:
    """Encode both sides of a split; see `encode_texts`."""
    return EncodedPairs(
        encode_texts(tokenizer, pairs.sources, max_len=max_len, name=f"{name} source"),
        encode_texts(tokenizer, pairs.targets, max_len=max_len, name=f"{name} target"),
    )


def decode_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """Return the text of a target, without its end."""
    text: str = tokenizer.decode(list(ids), skip_special_tokens=True)
    return text


def unknown_characters(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the characters of a text for which the vocabulary has no token, each once."""
    unk = sequence_ids(tokenizer).unk
    encoding = tokenizer.encode(text, add_special_tokens=False)
    spans = [span for i, span in zip(encoding.ids, encoding.offsets, strict=True) if i == unk]
    found = "".join(text[a:b] for a, b in spans)
    # Pieces hold a space as the mark "▁".
    known = (tokenizer.token_to_id(c) or tokenizer.token_to_id(c.replace(" ", "▁")) for c in found)
    return list(dict.fromkeys(c for c, i in zip(found, known, strict=True) if not i))
