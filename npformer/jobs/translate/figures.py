"""The figures of a run: its loss, and which source token each target token asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npformer.data.batches import pad
from npformer.data.vocabulary import encode_texts, sequence_ids
from npformer.jobs.translate.job import Job
from npformer.models.decoding import shift_right
from npformer.models.generation import greedy_search
from npformer.models.seq2seq import Seq2Seq
from npformer.ops.softmax import softmax_forward
from npformer.train.job import read_metrics, save_figure
from npformer.types import FloatArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def save_figures(job: Job, model: Seq2Seq) -> list[Path]:
    """Draw the loss against the updates, and the attention of a dev pair of usual length."""
    from matplotlib.figure import Figure

    from npformer.plot import plot_losses

    losses = [record for record in read_metrics(job.run.folder) if "loss" in record]
    figure = Figure((9.0, 4.5), layout="constrained")
    plot_losses(losses, terms=["loss"], ax=figure.subplots())
    path = save_figure(figure, job.run.folder / "loss.png")
    by_length = sorted(job.task.dev.sources, key=len)
    attention = job.run.folder / "attention.png"
    save_attention(model, job.tokenizer, by_length[len(by_length) // 2], attention, job.longest)
    return [path, attention]


def save_attention(
    model: Seq2Seq, tokenizer: Tokenizer, text: str, path: Path, max_new: int
) -> None:
    """Translate a text and draw the last layer's cross-attention, mean over its heads."""
    from matplotlib.figure import Figure

    from npformer.plot import plot_attention

    weights, asked, asking = alignment(model, tokenizer, text, max_new)
    width, height = 3 + 0.28 * len(asked), 2.5 + 0.28 * len(asking)
    figure = Figure((width, height), layout="constrained")
    ax = plot_attention(weights, asking, asked, ax=figure.subplots())
    ax.images[0].set_clim(0.0, 1.0)  # one scale, so that figures compare
    ax.set_title("Cross-attention, last layer, mean over heads", fontsize=9)
    ax.set_xlabel("source")
    ax.set_ylabel("target")
    save_figure(figure, path)


def alignment(
    model: Seq2Seq, tokenizer: Tokenizer, text: str, max_new: int
) -> tuple[FloatArray, list[str], list[str]]:
    """Return the weights (T, S) of a translation over its source, and the tokens of both."""
    special = sequence_ids(tokenizer)
    rows = encode_texts(tokenizer, [text], max_len=model.config.max_len, name="text")
    source, _ = pad(rows, special.pad)  # (1, S)
    found = greedy_search(model, source, start=special.start, end=special.end, max_new=max_new)
    target = np.array(found)  # (1, T)
    output, _ = model.forward(source, shift_right(target, special.start), output_scores=True)
    scores = (output.cross_scores or (None,))[-1]
    if scores is None:
        raise ValueError("scores were asked for")
    probs, _ = softmax_forward(scores)  # (1, H, T, S)
    # A space is drawn as in pieces of words.
    names = [
        [(tokenizer.id_to_token(int(i)) or "").replace(" ", "▁") for i in ids[0]]
        for ids in (source, target)
    ]
    return probs[0].mean(axis=0), names[0], names[1]
