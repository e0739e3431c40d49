"""What every job does with a model: save it, hide words for it, evaluate it, draw its curves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.data.batches import Batch, Encoded
from npformer.data.glue import Task
from npformer.data.masking import mask_tokens
from npformer.data.tokenizer import save_tokenizer, special_ids
from npformer.models.folder import write_folder
from npformer.models.heads import SequenceClassifier
from npformer.train.checkpoint import naming
from npformer.train.evaluate import predict_logits, score

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from tokenizers import Tokenizer


def save(folder: Path, tokenizer: "Tokenizer", write: Callable[[Path], None]) -> None:
    """Save what ``write`` puts into a folder, a model, with its tokenizer: all of it or nothing."""

    def fill(new: Path) -> None:
        write(new)
        save_tokenizer(tokenizer, new)

    write_folder(folder, fill)


def masked(
    batch: Batch,
    tokenizer: "Tokenizer",
    seed: tuple[int, ...],
    *,
    p_mask: float = 0.15,
    at_least_one: bool = False,
) -> Batch:
    """Hide words of a batch; which ones depends on the seed alone."""
    ids, labels = mask_tokens(
        batch.ids,
        batch.keep,
        special_ids(tokenizer),
        np.random.default_rng(seed),
        vocab_size=tokenizer.get_vocab_size(),
        p_mask=p_mask,
        at_least_one=at_least_one,
    )
    return batch._replace(ids=ids, labels=labels)


def dev_scores(
    model: SequenceClassifier, dev: Encoded, pad_id: int, task: Task
) -> dict[str, float]:
    """Score a model on dev; the measure that counts, GLUE's for the task, comes first."""
    scores = score(predict_logits(model, dev, pad_id), dev.labels, task.kind)
    return {task.measure: scores[task.measure], **scores}


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's ``metrics.jsonl``."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def save_figure(figure: "Figure", path: Path) -> Path:
    """Save a figure that pyplot did not make: its own need a screen, or a global switch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with naming(path):
        figure.savefig(path, dpi=120)
    return path
