"""Tokenization by the ``tokenizers`` library: BERT's WordPiece, and RoBERTa's byte-level BPE.

The library is imported inside the functions: importing this module needs NumPy alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Encoded
from npformer.data.placeholders import check_downloaded
from npformer.types import FloatArray, IntArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# RoBERTa's, in the same five roles.
ROBERTA_TOKENS = ("<pad>", "<unk>", "<s>", "</s>", "<mask>")


class SpecialIds(NamedTuple):
    """The ids of the five special tokens; RoBERTa's ``<s>`` is ``cls``, its ``</s>`` ``sep``."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


def train_wordpiece(texts: Iterable[str], vocab_size: int, *, lowercase: bool = True) -> Tokenizer:
    """Train a WordPiece vocabulary.

    Text is cleaned, split at white space and punctuation, and every Chinese character is a word of
    its own, as in BERT. The special tokens have ids 0 to 4. The same texts give the same vocabulary
    in every process.

    Parameters
    ----------
    texts : iterable of str
    vocab_size : int
        An upper bound, as long as it holds every character: a small text has fewer pieces.
    lowercase : bool

    Returns
    -------
    tokenizers.Tokenizer
    """
    from tokenizers import Tokenizer, models, trainers

    texts = list(texts)
    draft = _bert(Tokenizer(models.WordPiece(unk_token="[UNK]")), lowercase)
    # The library numbers the pieces "##c" in the order of a hash map, another one in every process,
    # and settles ties between merges by these numbers. Given as special tokens they are numbered
    # here, in sorted order.
    characters = _inner_characters(draft, texts)
    if not characters and not any(text.strip() for text in texts):
        raise InputError("texts: got no words, expected text to train a vocabulary on")
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *(f"##{c}" for c in characters)],
        show_progress=False,
    )
    draft.train_from_iterator(texts, trainer)
    return _wordpiece(draft.get_vocab(), lowercase)


def load_tokenizer(path: str | Path, *, vocab_size: int | None = None) -> Tokenizer:
    """Read a ``tokenizer.json``, a ``vocab.txt`` (one piece per line), or a folder that holds one.

    The truncation and the padding that a ``tokenizer.json`` may carry are switched off: they would
    cut or fill sentences unseen. Whether byte-level BPE puts a space before the first word is said
    by ``add_prefix_space`` of a ``tokenizer_config.json`` beside it, as in transformers.

    Parameters
    ----------
    path : path
    vocab_size : int, optional
        The rows of the model's table, which must have one for every piece.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read as what its name says, or it has pieces that
        the model does not have.
    """
    from tokenizers import Tokenizer

    path = Path(path)
    if path.is_dir():
        names = [name for name in ("tokenizer.json", "vocab.txt") if (path / name).is_file()]
        if not names and (path / "merges.txt").is_file():
            raise InputError(
                f"{path}: got a tokenizer in vocab.json and merges.txt, expected tokenizer.json "
                f"(with transformers: AutoTokenizer.from_pretrained({str(path)!r})"
                f".save_pretrained({str(path)!r}))"
            )
        if not names:
            raise InputError(f"{path}: got a folder without tokenizer.json and vocab.txt")
        path = path / names[0]
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a tokenizer.json or a vocab.txt")
    check_downloaded(path)
    if path.suffix == ".json":
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise InputError(f"{path}: not a tokenizer.json ({error})") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        _put_space_first(tokenizer, path.with_name("tokenizer_config.json"))
    else:
        try:
            # Not splitlines, which also cuts at characters that a vocabulary may hold.
            pieces = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: got bytes that are not UTF-8, expected UTF-8") from error
        vocab = {piece.rstrip(): i for i, piece in enumerate(pieces)}
        missing = [token for token in SPECIAL_TOKENS if token not in vocab]
        if missing:
            raise InputError(f"{path}: {missing[0]} is missing, expected one piece per line")
        # A vocabulary made from lower-cased text has no capital letter outside the special tokens.
        words = set(vocab) - set(SPECIAL_TOKENS)
        tokenizer = _wordpiece(vocab, all(w == w.lower() or w.startswith("[") for w in words))
    special_ids(tokenizer)  # refuses a vocabulary without them
    last = max(tokenizer.get_vocab().values())
    if vocab_size is not None and last >= vocab_size:
        raise InputError(
            f"{path}: got a piece of id {last}, expected ids below the model's vocab_size = "
            f"{vocab_size}"
        )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write ``tokenizer.json`` into a folder, which is made if need be.

    ``tokenizer_config.json`` beside it says that one with BERT's special tokens is BERT's, and a
    byte-level one what ``tokenizer.json`` says. Without that, transformers goes by the model: it
    takes the tokenizer of a student with a factorised table, which is an ALBERT, for ALBERT's.
    """
    path, text = Path(folder), tokenizer.to_str(pretty=True)
    path.mkdir(parents=True, exist_ok=True)
    # Written by Python: the library reports a full disk as a bare Exception.
    (path / "tokenizer.json").write_text(text, "utf-8")
    config: dict[str, str | bool]
    if is_byte_level(tokenizer):
        # Not RobertaTokenizer, which would make its own of the vocabulary: no space before the
        # first word, no normalizer.
        roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
        config = {"tokenizer_class": "PreTrainedTokenizerFast"}
        config |= dict(zip(roles, ROBERTA_TOKENS, strict=True))
    elif all(tokenizer.token_to_id(token) is not None for token in SPECIAL_TOKENS):
        normalizer = json.loads(text)["normalizer"] or {}
        lowercase = normalizer.get("lowercase", False)
        config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase}
    else:
        return
    (path / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Look the special tokens up by name: RoBERTa's in byte-level BPE, BERT's in all others.

    Raises
    ------
    InputError
        If one of them is missing.
    """
    byte_level = is_byte_level(tokenizer)
    tokens = ROBERTA_TOKENS if byte_level else SPECIAL_TOKENS
    ids = [tokenizer.token_to_id(token) for token in tokens]
    for token, i in zip(tokens, ids, strict=True):
        if i is None:
            whose = "RoBERTa's, in byte-level BPE" if byte_level else "BERT's"
            raise InputError(
                f"tokenizer: {token} is missing, expected the special tokens to be {whose}"
            )
    return SpecialIds(*(int(i) for i in ids if i is not None))


def is_byte_level(tokenizer: Tokenizer) -> bool:
    """Whether pieces are made of bytes, as in GPT-2 and RoBERTa."""
    from tokenizers.pre_tokenizers import ByteLevel

    return isinstance(tokenizer.pre_tokenizer, ByteLevel)


def pieces_of(tokenizer: Tokenizer) -> list[str]:
    """Return the piece of each id up to the last; "" where an id has none."""
    last = max(tokenizer.get_vocab().values())
    return [tokenizer.id_to_token(i) or "" for i in range(last + 1)]


def encode_examples(
    tokenizer: Tokenizer,
    first: Sequence[str],
    second: Sequence[str] | None = None,
    labels: IntArray | FloatArray | None = None,
    *,
    max_len: int,
) -> tuple[Encoded, int]:
    """Encode ``[CLS] first [SEP]`` or ``[CLS] first [SEP] second [SEP]``, segments 0 and 1.

    RoBERTa's are ``<s> first </s>`` and ``<s> first </s></s> second </s>``, all of segment 0.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    first, second : sequence of N str
    labels : ndarray of shape (N,), optional
    max_len : int
        Longer examples lose pieces from their end; of a pair, the longer sentence loses first.

    Returns
    -------
    Encoded
    int
        How many examples were cut.
    """
    special = special_ids(tokenizer)
    byte_level = is_byte_level(tokenizer)
    between = [special.sep] if byte_level else []
    room = max_len - (2 if second is None else 3 + len(between))
    if room < 1:
        raise InputError(
            f"max_len: got {max_len}, expected room for a piece beside the special tokens"
        )
    a = _pieces(tokenizer, first)
    b = _pieces(tokenizer, second) if second is not None else [None] * len(a)
    ids: list[IntArray] = []
    segments: list[IntArray] = []
    cut = 0
    for x, y in zip(a, b, strict=True):
        n_x, n_y = _fit(len(x), len(y or ()), room)
        cut += n_x < len(x) or n_y < len(y or ())
        tail = [] if y is None else [*between, *y[:n_y], special.sep]
        row = [special.cls, *x[:n_x], special.sep, *tail]
        ids.append(np.array(row, dtype=np.int64))
        segments.append(np.repeat([0, 0 if byte_level else 1], [n_x + 2, len(tail)]))
    return Encoded(ids, segments, labels), cut


def _put_space_first(tokenizer: Tokenizer, path: Path) -> None:
    if not (is_byte_level(tokenizer) and path.is_file()):
        return
    try:
        config = json.loads(path.read_text("utf-8"))
        space = config.get("add_prefix_space")
    except (ValueError, AttributeError) as error:
        raise InputError(f"{path}: got no JSON object ({error}), expected one") from error
    if space is not None:
        tokenizer.pre_tokenizer.add_prefix_space = bool(space)


def _fit(n_x: int, n_y: int, room: int) -> tuple[int, int]:
    """Take pieces from the longer of the two until both fit: the shorter one keeps up to half."""
    if n_x + n_y <= room:
        return n_x, n_y
    if n_x <= n_y:
        n_x = min(n_x, room - room // 2)
        return n_x, min(n_y, room - n_x)
    n_y = min(n_y, room // 2)
    return min(n_x, room - n_y), n_y


def _pieces(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [e.ids for e in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _inner_characters(tokenizer: Tokenizer, texts: Iterable[str]) -> list[str]:
    """Return the characters that stand inside words, sorted."""
    normalizer, splitter = tokenizer.normalizer, tokenizer.pre_tokenizer
    normal = (normalizer.normalize_str(text) for text in texts)
    return sorted({c for t in normal for word, _ in splitter.pre_tokenize_str(t) for c in word[1:]})


def _wordpiece(vocab: dict[str, int], lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models

    tokenizer = _bert(Tokenizer(models.WordPiece(vocab, unk_token="[UNK]")), lowercase)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    return tokenizer


def _bert(tokenizer: Tokenizer, lowercase: bool) -> Tokenizer:
    from tokenizers import normalizers, pre_tokenizers

    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
