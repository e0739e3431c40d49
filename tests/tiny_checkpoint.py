"""A pretrained checkpoint of a few thousand weights in a folder, and text to go on with."""

from pathlib import Path

import numpy as np
import tiny_task
from models.small import make
from safetensors.numpy import load_file, save_file

from npformer.data.tokenizer import save_tokenizer, train_wordpiece
from npformer.models import save_pretrained

SIZES = {"d_model": 12, "num_heads": 3, "num_layers": 2, "d_ff": 10, "max_len": 24}
TEXTS = [text for text, _ in tiny_task.texts(40, 100)] + ["they liked it", "they left it"]


def write_checkpoint(
    folder: Path, kind: str = "encoder", *, pooler: bool = True, **changes
) -> Path:
    """Write a model of this kind with its tokenizer; an encoder's pooler as transformers does."""
    tokenizer = train_wordpiece(TEXTS, 90)
    sizes = {**SIZES, "vocab_size": tokenizer.get_vocab_size(), "num_segments": 2, **changes}
    model = make(kind, dtype=np.float32, **sizes)
    save_pretrained(model, folder)
    save_tokenizer(tokenizer, folder)
    if kind == "encoder" and pooler:
        rng, d = np.random.default_rng(8), sizes["d_model"]
        weights = {"weight": rng.standard_normal((d, d)), "bias": rng.standard_normal(d)}
        arrays = load_file(folder / "model.safetensors")
        arrays |= {f"pooler.dense.{n}": (0.3 * a).astype(np.float32) for n, a in weights.items()}
        save_file(arrays, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
