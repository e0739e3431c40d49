"""Where fine-tuning begins: the arrays that a checkpoint has, the others drawn."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.data.glue import Task
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import (
    classifier_config,
    from_pretrained,
    load_labels,
    read_pooler,
)
from npformer.models.masked_lm import MaskedLM


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
        config = classifier_config(encoder.config, _classes(task), task.kind)
        pooler = read_pooler(folder)
        drawn = SequenceClassifier.on(config, encoder.params, rng)
        model = SequenceClassifier(config, drawn.params | pooler)
        origin = "encoder and pooler read, classifier drawn"
        if not pooler:
            origin = "encoder read, pooler and classifier drawn"
    else:
        raise InputError(
            f"model: got {folder}, a {type(found).__name__}, expected a pretrained model"
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
    """Refuse a classifier that does not know the task.

    Parameters
    ----------
    model : SequenceClassifier
    labels : tuple of str
        The names of its classes.
    task : Task
    source : str
        What the error calls it.

    Raises
    ------
    InputError
        If it is of another kind, or has other labels, or the same in another order.
    """
    classes = _classes(task)
    if (model.config.problem, model.config.num_classes) != (task.kind, classes):
        raise InputError(
            f"{source}: got a {model.config.problem} model of {model.config.num_classes} "
            f"outputs, expected {task.kind} with {classes}"
        )
    # LABEL_0, LABEL_1 ... is what transformers writes for a model whose labels have no names.
    unnamed = tuple(f"LABEL_{c}" for c in range(classes))
    if task.kind == "classification" and labels not in (task.label_names, unnamed):
        raise InputError(
            f"{source}: got a model of the labels {', '.join(labels)}, expected those of the "
            f"data in their order, {', '.join(task.label_names)}"
        )


def _classes(task: Task) -> int:
    return 1 if task.kind == "regression" else len(task.label_names)
