"""What config.json says of a classifier: the names of its classes, the kind of its task."""

from collections.abc import Mapping, Sequence
from typing import Any

from npformer.checks import InputError, shown
from npformer.models.config import ClassifierConfig
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface.family import Family, Model

PROBLEMS = {"classification": "single_label_classification", "regression": "regression"}
RELU = "npformer_relu_before_classifier"  # ours: transformers ignores it
LABEL_FIELDS = ("id2label", "label2id", "num_labels", "problem_type", RELU)
MOST_CLASSES = 1_000_000  # more would be a slip: the names alone would fill the memory


def write_classes(
    config: ClassifierConfig, family: Family, labels: Sequence[str] | None
) -> dict[str, Any]:
    """Return the fields that `read_classes` reads; ``labels`` names the classes."""
    if labels is None:
        labels = [f"LABEL_{c}" for c in range(config.num_classes)]
    if len(set(labels)) != config.num_classes or len(labels) != config.num_classes:
        raise InputError(f"labels: got {shown(list(labels))}, expected {config.num_classes} names")
    fields: dict[str, Any] = {
        "id2label": {str(c): name for c, name in enumerate(labels)},
        "label2id": {name: c for c, name in enumerate(labels)},
        "problem_type": PROBLEMS[config.problem],
    }
    if config.relu_before_classifier and "relu_before_classifier" not in family.constants:
        fields[RELU] = True
    return fields


def read_classes(fields: Mapping[str, Any], kind: type[Model]) -> dict[str, Any]:
    """Return what a `ClassifierConfig` has beside an encoder's."""
    classes = len(read_labels(fields))
    problem = fields.get("problem_type")
    if problem is None:
        # What transformers does: one column of a sequence classifier is a regression.
        regression = kind is SequenceClassifier and classes == 1
        problem = PROBLEMS["regression" if regression else "classification"]
    ours = {theirs: name for name, theirs in PROBLEMS.items()}
    if not isinstance(problem, str) or problem not in ours:
        raise InputError(f"problem_type: got {shown(problem)}, expected one of {', '.join(ours)}")
    relu = fields.get(RELU, False)
    if not isinstance(relu, bool):
        raise InputError(f"{RELU}: got {shown(relu)}, expected true or false")
    return {"num_classes": classes, "problem": ours[problem], "relu_before_classifier": relu}


def read_labels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes, in order; without names transformers means two classes."""
    names, repeated = _label_names(fields), fields.get("label2id")
    if repeated is not None and repeated != (numbers := {name: c for c, name in enumerate(names)}):
        raise InputError(
            f"label2id: got {shown(repeated)}, expected what id2label says, {shown(numbers)}"
        )
    return names


def _label_names(fields: Mapping[str, Any]) -> tuple[str, ...]:
    named = fields.get("id2label")
    if named is None:
        number = fields.get("num_labels", 2)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(
                f"num_labels: got {shown(number)}, expected a whole number of at least 1"
            )
        if number > MOST_CLASSES:
            raise InputError(f"num_labels: got {shown(number)}, expected at most {MOST_CLASSES}")
        return tuple(f"LABEL_{c}" for c in range(number))
    if not isinstance(named, dict) or set(named) != {str(c) for c in range(len(named))}:
        raise InputError(f"id2label: got {shown(named)}, expected a name for each of 0, 1, ...")
    if fields.get("num_labels", len(named)) != len(named):
        raise InputError(f"num_labels: got {shown(fields['num_labels'])}, expected {len(named)}")
    names = tuple(str(named[str(c)]) for c in range(len(named)))
    if len(set(names)) != len(names):
        raise InputError(f"id2label: got {shown(named)}, expected another name for each class")
    return names
