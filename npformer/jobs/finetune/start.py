"""Where fine-tuning begins: the arrays that a checkpoint has, the others drawn."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from npformer.checks import InputError, article, some
from npformer.data.glue import Task
from npformer.data.tokenizer import is_byte_level
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import from_pretrained, load_labels, read_pooler
from npformer.models.masked_lm import MaskedLM

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Start(NamedTuple):
    """A classifier before its first update."""

    model: SequenceClassifier
    origin: str  # what was read and what was drawn


def start_classifier(
    folder: Path, task: Task, rng: np.random.Generator, *, dropout: float | None = None
) -> Start:
    """Put a classifier of a task on what a folder holds.

    The pooler is read if it is there, as transformers does; what is not there is drawn. A
    classifier of the same labels is taken as it is.

    Parameters
    ----------
    folder : Path
    task : Task
    rng : numpy.random.Generator
    dropout : float, optional
        Of states, of attention and before the classifier; None: what config.json says.

    Raises
    ------
    InputError
        If the folder holds a classifier of anything else, or cannot be read.
    """
    found = from_pretrained(folder)
    if isinstance(found, SequenceClassifier):
        check_classifier(found, load_labels(folder), task, source=str(folder))
        model, origin = found, "all weights read"
    elif isinstance(found, Encoder | MaskedLM):
        encoder = found if isinstance(found, Encoder) else found.encoder
        config = ClassifierConfig.on(encoder.config, num_classes=_classes(task), problem=task.kind)
        pooler = read_pooler(folder)
        drawn = SequenceClassifier.on(config, encoder.params, rng)
        model = SequenceClassifier(config, drawn.params | pooler)
        origin = "encoder and pooler read, classifier drawn"
        if not pooler:
            origin = "encoder read, pooler and classifier drawn"
    else:
        raise InputError(
            f"model: got {folder}, {article(type(found).__name__)}, expected a pretrained model"
        )
    if dropout is not None:
        config = replace(
            model.config, dropout=dropout, attention_dropout=dropout, classifier_dropout=None
        )
        model = SequenceClassifier(config, model.params)
    return Start(model, origin)


def check_classifier(
    model: SequenceClassifier, labels: tuple[str, ...], task: Task, *, source: str
) -> None:
    """Refuse a classifier that does not know the task, or has its labels in another order.

    Raises
    ------
    InputError
        As `class_order`, and for another order.
    """
    order = class_order(model, labels, task, source=source)
    if order != sorted(order):
        raise InputError(
            f"{source}: got a model of the labels {some(labels, 10)}, expected those of the "
            f"data in their order, {some(task.label_names, 10)}"
        )


def class_order(
    model: SequenceClassifier, labels: tuple[str, ...], task: Task, *, source: str
) -> list[int]:
    """Return the column of the model's logits for each class of the task.

    Parameters
    ----------
    model : SequenceClassifier
    labels : tuple of str
        The names of its classes; without names, they are those of the task in their order.
    task : Task
    source : str
        What the error calls the model.

    Raises
    ------
    InputError
        If it is of another kind, or has other labels.
    """
    classes = _classes(task)
    if (model.config.problem, model.config.num_classes) != (task.kind, classes):
        raise InputError(
            f"{source}: got a {model.config.problem} model of {model.config.num_classes} "
            f"outputs, expected {task.kind} with {classes}"
        )
    # LABEL_0, LABEL_1 ... is what transformers writes for a model whose labels have no names.
    unnamed = tuple(f"LABEL_{c}" for c in range(classes))
    if task.kind == "regression" or labels == unnamed:
        return list(range(classes))
    if set(labels) != set(task.label_names):
        raise InputError(
            f"{source}: got a model of the labels {some(labels, 10)}, expected those of the data, "
            f"{some(task.label_names, 10)} (if they mean the same in the same order, rename them "
            "in id2label and label2id of its config.json)"
        )
    return [labels.index(name) for name in task.label_names]


def check_pairs(config: EncoderConfig, tokenizer: "Tokenizer", *, source: str) -> None:
    """Refuse a model of one segment for pairs; without any, as DistilBERT, it may read them.

    So may a RoBERTa, whose tokenizer sets a pair apart by another token between its texts.

    Raises
    ------
    InputError
        If the second text of a pair has no segment.
    """
    if config.num_segments == 1 and not is_byte_level(tokenizer):
        raise InputError(f"{source}: got a model of one segment, expected two, for pairs")


def _classes(task: Task) -> int:
    return 1 if task.kind == "regression" else len(task.label_names)
