"""config.json of a folder: every field is read, known not to matter, or refused."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from npformer.checks import InputError, article, shown
from npformer.models.config import ClassifierConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface.classes import LABEL_FIELDS, read_classes, write_classes
from npformer.models.huggingface.family import (
    ACTIVATION_NAMES,
    REQUIRED,
    THEIR_ACTIVATIONS,
    Family,
    Field,
    Model,
)
from npformer.models.huggingface.registry import FAMILIES

# More would be a slip or an attack: finding the edges of T5's buckets would take hours.
MOST_LAYERS, MOST = 10_000, 2**31 - 1
LIMITS = dict.fromkeys(("num_layers", "num_encoder_layers", "num_decoder_layers"), MOST_LAYERS)
LIMITS |= {"num_buckets": 1024, "max_distance": 32_768}


def write_config(
    config: Any, kind: type[Model], family: Family, labels: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the fields of config.json; ``labels`` names the classes.

    Raises
    ------
    InputError
        If the configuration has something that config.json has no word for.
    """
    architecture = next(name for name, k in family.architectures.items() if k is kind)
    fields = {"architectures": [architecture], "model_type": family.model_type, **family.written}
    for field in _fields_of(family, kind):
        value = getattr(config, field.ours) if field.ours else None
        if field.ours == "classifier_dropout" and value is None and field.default is not None:
            value = config.head_dropout
        if value is not None:
            fields[field.theirs] = field.kind(THEIR_ACTIVATIONS.get(value, value))
    fields |= family.write(config)
    if _config_class(kind) is ClassifierConfig:
        fields |= write_classes(config, family, labels)
    elif labels is not None:
        raise InputError(
            f"labels: got {shown(list(labels))}, expected None for {article(kind.__name__)}"
        )
    _check_read_back(config, _read(fields, family, kind), family)
    return fields


def read_family(fields: Mapping[str, Any], head: type[Any] | None = None) -> Family:
    """Return the family that ``model_type`` names; old folders without one are BERT's."""
    name = fields.get("model_type", "bert")
    family = FAMILIES.get(name) if isinstance(name, str) else None
    if family is None:
        raise InputError(f"model_type: got {shown(name)}, expected one of {', '.join(FAMILIES)}")
    if head is not None and head not in family.architectures.values():
        able = [n for n, other in FAMILIES.items() if head in other.architectures.values()]
        raise InputError(
            f"model_type: got {name!r}, expected {article(head.__name__)} ({', '.join(able)})"
        )
    return family


def read_kind(fields: Mapping[str, Any], head: type[Any] | None = None) -> type[Model]:
    """Return the model to read: ``head``, which config.json must allow, or the one it names."""
    known = read_family(fields, head).architectures
    names, kinds = fields.get("architectures"), set(known.values())
    if names is None and (head is not None or len(kinds) == 1):
        return head or kinds.pop()
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


def read_config(fields: Mapping[str, Any], kind: type[Model]) -> Any:
    """Return the configuration of the model that config.json describes.

    Raises
    ------
    InputError
        Naming the field, as it is called there, and its value.
    """
    family = read_family(fields)
    _check_others(fields, family, kind)
    ours_to_theirs = {f.ours: f.theirs for f in reversed(family.fields) if f.ours}
    try:
        return _read(fields, family, kind)
    except InputError as error:
        text = re.sub(r"\w+", lambda m: ours_to_theirs.get(m[0], m[0]), str(error))
        raise InputError(text) from None


def unread_positions(fields: Mapping[str, Any], family: Family) -> int:
    """Return how many rows of the position table stand before the first token's."""
    if family.padding is None:
        return 0
    first = int(read_value(fields, family.padding)) + 1
    if first < 1:
        raise InputError(f"{family.padding.theirs}: got {first - 1}, expected at least 0")
    return first


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


def _config_class(kind: type[Model]) -> Any:
    return get_type_hints(kind)["config"]


def _fields_of(family: Family, kind: type[Model]) -> list[Field]:
    return [field for field in family.fields if kind in field.only or not field.only]


def _read(fields: Mapping[str, Any], family: Family, kind: type[Model]) -> Any:
    """Return the configuration; an error of its own names fields of ours."""
    make = _config_class(kind)
    known = {field.name for field in dataclasses.fields(make)}
    said = {field: read_value(fields, field) for field in _fields_of(family, kind)}
    first: dict[str, Field] = {}
    for field, value in said.items():
        twin = first.setdefault(field.ours, field)
        if field.ours and value is not None and value != said[twin]:
            raise _differs(field, value, f"{twin.theirs} = {said[twin]}")
    values = {f.ours: said[f] for f in first.values() if f.ours in known and said[f] is not None}
    values |= {name: v for name, v in family.constants.items() if name in known}
    values |= family.read({field.theirs: value for field, value in said.items()})
    values["max_len"] -= unread_positions(fields, family)
    if make is ClassifierConfig:
        values = read_classes(fields, kind) | values
        if values.get("classifier_dropout") == values["dropout"]:
            del values["classifier_dropout"]
    if values.get("num_segments") == 0 and "num_segments" not in family.constants:
        raise InputError(
            f"num_segments: got 0, expected at least 1, because every {family.model_type} has a "
            "table of segments"
        )
    config = make.from_dict(values)
    for field in first.values():
        if field.ours and field.ours not in known:  # what others decide, as the size of a head
            value, decided = said[field], getattr(config, field.ours)
            if value not in (None, decided):
                raise _differs(field, value, decided)
    return config


def _differs(field: Field, value: Any, expected: Any) -> InputError:
    because = f", because {field.because}" if field.because else ""
    return InputError(f"{field.theirs}: got {value}, expected {expected}{because}")


def _check_others(fields: Mapping[str, Any], family: Family, kind: type[Model]) -> None:
    """Refuse a field that is not read, not neutral and not what it must be."""
    read = {"architectures", "model_type", *(field.theirs for field in family.fields)}
    read |= set() if family.padding is None else {family.padding.theirs}
    read |= set(LABEL_FIELDS) if SequenceClassifier in family.heads else set()
    fixed = {**family.fixed, **family.fixed_for.get(kind, {})}
    for name, value in fields.items():
        if name in fixed:
            if value != fixed[name] or isinstance(value, bool) != isinstance(fixed[name], bool):
                raise InputError(f"{name}: got {shown(value)}, expected {fixed[name]!r}")
        elif name not in read and name not in family.neutral:
            raise InputError(f"{name[:80]}: got {shown(value)}, expected no such field")


def _check_read_back(config: Any, back: Any, family: Family) -> None:
    """Refuse what config.json has no word for, and transformers would compute otherwise."""
    for field in dataclasses.fields(back):
        # A dropout before the classifier that is the same as everywhere else needs no word.
        name = "head_dropout" if field.name == "classifier_dropout" else field.name
        value, read = getattr(config, name), getattr(back, name)
        if value != read:
            raise InputError(
                f"{field.name}: got {value!r}, expected {read!r}, because the config.json of "
                f"{family.model_type} has no word for it"
            )
