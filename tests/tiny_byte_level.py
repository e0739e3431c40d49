"""A tokenizer as RoBERTa's, trained here."""

from collections.abc import Sequence

import tiny_task
from tokenizers import ByteLevelBPETokenizer, Tokenizer

TEXTS = [
    "the film was fine, and the film was dull",
    "a naïve plot; the cast was warm",
    "film the film! 我喜歡這部電影 🙂 кот нет мы она",
]
CAT = "ĠÐºÐ¾ÑĤ"  # a space and the word of three letters, each of two bytes
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level(vocab_size: int, special: Sequence[str] = SPECIAL) -> Tokenizer:
    """Return a byte-level BPE, with RoBERTa's special tokens in its order but for the last."""
    words = [text for text, _ in tiny_task.texts(40, 100)] + ["they liked it", "they left it"]
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(
        words + TEXTS * 3,
        vocab_size,
        min_frequency=2,
        special_tokens=list(special),
        show_progress=False,
    )
    return Tokenizer.from_str(made.to_str())
