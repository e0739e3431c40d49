"""config.json of a folder: every field is read, known not to matter, or refused."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from npformer.checks import InputError, article, shown
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.families import FAMILIES, written_family
from npformer.models.huggingface.family import REQUIRED, Family, Field, Model
from npformer.models.masked_lm import MaskedLM

PROBLEMS = {"classification": "single_label_classification", "regression": "regression"}
RELU = "npformer_relu_before_classifier"  # ours: transformers ignores it
LABEL_FIELDS = ("id2label", "label2id", "num_labels", "problem_type", RELU)
# Other words for ours, and the word that we write.
ACTIVATION_NAMES = {
    "swish": "silu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
THEIR_ACTIVATIONS = {"gelu_tanh": "gelu_new"}
# More would be a slip or an attack: the names alone would fill the memory, and finding the edges of
# T5's buckets would take hours.
MOST_CLASSES, MOST_LAYERS, MOST = 1_000_000, 10_000, 2**31 - 1
LIMITS = dict.fromkeys(("num_layers", "num_encoder_layers", "num_decoder_layers"), MOST_LAYERS)
LIMITS |= {"num_buckets": 1024, "max_distance": 32_768}


def write_config(model: Model, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the fields of config.json; ``labels`` names the classes."""
    config, kind, family = model.config, type(model), written_family(model.config)
    check_sayable(kind, config, family)
    architecture = next(name for name, k in family.architectures.items() if k is kind)
    fields: dict[str, Any] = {"architectures": [architecture], "model_type": family.model_type}
    for field in family.fields:
        value = field.kind(getattr(config, field.ours))
        fields[field.theirs] = THEIR_ACTIVATIONS.get(value, value)
    if family.own_weights is not None:
        fields[family.own_weights] = config.num_layers
    if isinstance(config, ClassifierConfig) and not isinstance(model, Encoder | MaskedLM):
        if labels is None:
            labels = [f"LABEL_{c}" for c in range(config.num_classes)]
        if len(set(labels)) != config.num_classes or len(labels) != config.num_classes:
            raise InputError(
                f"labels: got {shown(list(labels))}, expected {config.num_classes} names"
            )
        fields["id2label"] = {str(c): name for c, name in enumerate(labels)}
        fields["label2id"] = {name: c for c, name in enumerate(labels)}
        fields["problem_type"] = PROBLEMS[config.problem]
        own = family.classifier_dropout.get(kind)
        if own is not None:
            p_drop = config.classifier_dropout
            if p_drop is not None or own.default is not None:
                fields[own.theirs] = float(config.dropout if p_drop is None else p_drop)
        if config.relu_before_classifier and "relu_before_classifier" not in family.constants:
            fields[RELU] = True
    elif labels is not None:
        raise InputError(
            f"labels: got {shown(list(labels))}, expected None for {article(kind.__name__)}"
        )
    return fields


def read_family(fields: Mapping[str, Any]) -> Family:
    """Return the family that ``model_type`` names; old folders without one are BERT's."""
    name = fields.get("model_type", "bert")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise InputError(f"model_type: got {shown(name)}, expected one of {', '.join(FAMILIES)}")
    return family


def read_kind(fields: Mapping[str, Any], head: type[Model] | None) -> type[Model]:
    """Return the model to read: ``head``, which config.json must allow, or the one it names."""
    known = read_family(fields).architectures
    names = fields.get("architectures")
    if names is None and head is not None:
        return head
    if not isinstance(names, list) or len(names) != 1:
        hint = " (or a call that says which model to read)" if names is None else ""
        raise InputError(f"architectures: got {shown(names)}, expected one name in a list{hint}")
    kind = known.get(str(names[0]))
    if kind is None:
        raise InputError(
            f"architectures: got {shown(names[0])}, expected one of {', '.join(known)}"
        )
    if head not in (None, kind, Encoder):
        assert head is not None
        raise InputError(
            f"architectures: got {article(kind.__name__)}, expected {article(head.__name__)}"
        )
    return head or kind


def read_config(fields: Mapping[str, Any], kind: type[Model]) -> EncoderConfig:
    """Return the configuration of the model that config.json describes.

    Raises
    ------
    InputError
        Naming the field and its value.
    """
    family = read_family(fields)
    _check_own_weights(fields, family)
    _check_others(fields, family, kind)
    ours_to_theirs = {field.ours: field.theirs for field in family.fields}
    values = {field.ours: read_value(fields, field) for field in family.fields}
    values["max_len"] -= unread_positions(fields)
    if values.get("num_segments") == 0:
        raise InputError(f"{ours_to_theirs['num_segments']}: got 0, expected at least 1")
    is_classifier = kind in (SequenceClassifier, TokenClassifier)
    if is_classifier:
        values |= _classifier_values(fields, kind)
        own = family.classifier_dropout.get(kind)
        if own is not None:
            p_drop = read_value(fields, own)
            values["classifier_dropout"] = None if p_drop == values["dropout"] else p_drop
    config = ClassifierConfig if is_classifier else EncoderConfig
    known = {field.name for field in dataclasses.fields(config)}
    values |= {name: value for name, value in family.constants.items() if name in known}
    try:
        return config.from_dict(values)
    except InputError as error:
        text = re.sub(r"\w+", lambda m: ours_to_theirs.get(m[0], m[0]), str(error))
        raise InputError(text) from None


def classifier_config(config: EncoderConfig, num_classes: int, problem: str) -> ClassifierConfig:
    """Return the configuration of a sequence classifier on an encoder, as its family has it."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    known = {field.name for field in dataclasses.fields(ClassifierConfig)}
    constants = written_family(config).constants
    values |= {name: value for name, value in constants.items() if name in known}
    return ClassifierConfig.from_dict(values | {"num_classes": num_classes, "problem": problem})


def unread_positions(fields: Mapping[str, Any]) -> int:
    """Return how many rows of the position table stand before the first token's."""
    padding = read_family(fields).padding
    if padding is None:
        return 0
    first = int(read_value(fields, padding)) + 1
    if first < 1:
        raise InputError(f"{padding.theirs}: got {first - 1}, expected at least 0")
    return first


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


def check_sayable(kind: type[Model], config: EncoderConfig, family: Family) -> None:
    """Refuse what config.json has no word for, and transformers would compute otherwise."""
    classifier = kind in (SequenceClassifier, TokenClassifier)
    said = {field.ours for field in family.fields}
    if config.num_segments == 0 and config.embedding_size is not None:
        raise InputError(
            f"num_segments: got 0, expected at least 1, because every {family.model_type} has a "
            "table of segments"
        )
    said |= {"num_classes", "problem", "relu_before_classifier"}
    if kind in family.classifier_dropout:
        said.add("classifier_dropout")
    said -= family.constants.keys()
    for field in dataclasses.fields(ClassifierConfig if classifier else EncoderConfig):
        expected = family.constants.get(field.name, field.default)
        value = getattr(config, field.name)
        if field.name not in said and value != expected:
            raise InputError(
                f"{field.name}: got {value!r}, expected {expected!r}, because the config.json of "
                f"{family.model_type} has no word for it"
            )


def read_value(fields: Mapping[str, Any], field: Field) -> Any:
    """Return the value of a field, or its default, if it is of the right type and not absurd."""
    value = fields.get(field.theirs, field.default)
    if value is None and field.default is None:
        return None
    if value is None or value is REQUIRED:
        raise InputError(f"{field.theirs}: got nothing, expected {field.kind.__name__}")
    number = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, field.kind) or (field.kind is float and number)) or (
        isinstance(value, bool) and field.kind is not bool
    ):
        raise InputError(f"{field.theirs}: got {shown(value)}, expected {field.kind.__name__}")
    if number:
        most = LIMITS.get(field.ours or field.theirs, MOST)
        if abs(value) > most:
            size = " in size" if value < 0 else ""
            raise InputError(f"{field.theirs}: got {shown(value)}, expected at most {most}{size}")
    return ACTIVATION_NAMES.get(value, value) if field.ours == "activation" else value


def _check_own_weights(fields: Mapping[str, Any], family: Family) -> None:
    name = family.own_weights
    if name is None:
        return
    [layers] = [field for field in family.fields if field.ours == "num_layers"]
    number, groups = read_value(fields, layers), read_value(fields, Field("", name, int, 1))
    if groups != number:
        raise InputError(
            f"{name}: got {groups}, expected {layers.theirs} = {number}, because layers that "
            "share their weights cannot be read: training would move them apart"
        )


def _check_others(fields: Mapping[str, Any], family: Family, kind: type[Model]) -> None:
    read = {field.theirs for field in (*family.fields, *family.classifier_dropout.values())}
    read |= {"architectures", "model_type", *LABEL_FIELDS}
    read |= set() if family.padding is None else {family.padding.theirs}
    read |= set() if family.own_weights is None else {family.own_weights}
    check_fields(fields, read, {**family.fixed, **family.fixed_for.get(kind, {})}, family.neutral)


def check_fields(
    fields: Mapping[str, Any],
    read: Collection[str],
    fixed: Mapping[str, Any],
    neutral: Collection[str],
) -> None:
    """Refuse a field that is not read, not neutral and not what it must be."""
    for name, value in fields.items():
        if name in fixed:
            if value != fixed[name] or isinstance(value, bool) != isinstance(fixed[name], bool):
                raise InputError(f"{name}: got {shown(value)}, expected {fixed[name]!r}")
        elif name not in read and name not in neutral:
            raise InputError(f"{name[:80]}: got {shown(value)}, expected no such field")


def _classifier_values(fields: Mapping[str, Any], kind: type[Model]) -> dict[str, Any]:
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
    return {
        "num_classes": classes,
        "problem": ours[problem],
        "relu_before_classifier": relu,
    }
