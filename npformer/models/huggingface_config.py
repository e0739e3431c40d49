"""config.json of a BERT folder: every field is read, known not to matter, or refused."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from npformer.checks import InputError
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.masked_lm import MaskedLM

Model = Encoder | SequenceClassifier | TokenClassifier | MaskedLM

ARCHITECTURES: dict[str, type[Model]] = {
    "BertModel": Encoder,
    "BertForSequenceClassification": SequenceClassifier,
    "BertForTokenClassification": TokenClassifier,
    "BertForMaskedLM": MaskedLM,
}


class Field(NamedTuple):
    """A field of ours, its name in config.json, its type and what a missing one means there."""

    ours: str
    theirs: str
    kind: type
    default: Any = None  # None: it must be there


FIELDS = (
    Field("vocab_size", "vocab_size", int),
    Field("d_model", "hidden_size", int),
    Field("num_heads", "num_attention_heads", int),
    Field("num_layers", "num_hidden_layers", int),
    Field("d_ff", "intermediate_size", int),
    Field("max_len", "max_position_embeddings", int),
    Field("num_segments", "type_vocab_size", int, 2),
    Field("activation", "hidden_act", str, "gelu"),
    Field("dropout", "hidden_dropout_prob", float, 0.1),
    Field("attention_dropout", "attention_probs_dropout_prob", float, 0.1),
    Field("initializer_range", "initializer_range", float, 0.02),
    Field("layer_norm_eps", "layer_norm_eps", float, 1e-12),
)
# Fields of ours that config.json has no word for: the value they must have, and why.
UNSAID: dict[str, tuple[Any, str]] = {
    "norm_first": (False, "no pre-LN"),
    "attention": ("softmax", "no other attention"),
    "attention_scale": (None, "scores that are divided by sqrt(K)"),
    "relative": ("none", "absolute positions only"),
}
PROBLEMS = {"classification": "single_label_classification", "regression": "regression"}
RELU = "npformer_relu_before_classifier"  # ours: transformers ignores it
CLASSIFIER_FIELDS = ("id2label", "num_labels", "problem_type", RELU)

# Fields that must have this value, or not be there: with another one the numbers differ.
FIXED: dict[str, Any] = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
}
# Fields that do not change the numbers.
NEUTRAL = {
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "attn_implementation",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cls_token_id",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "label2id",
    "mask_token_id",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "return_dict",
    "sep_token_id",
    "tokenizer_class",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}


def write_config(model: Model, labels: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the fields of config.json; ``labels`` names the classes."""
    config = model.config
    for name, (value, reason) in UNSAID.items():
        if getattr(config, name) != value:
            raise InputError(
                f"{name}: got {getattr(config, name)!r}, expected {value!r}, because Hugging "
                f"Face's BERT has {reason}"
            )
    names = {kind: name for name, kind in ARCHITECTURES.items()}
    fields: dict[str, Any] = {"architectures": [names[type(model)]], "model_type": "bert"}
    for field in FIELDS:
        fields[field.theirs] = field.kind(getattr(config, field.ours))
    if isinstance(config, ClassifierConfig) and not isinstance(model, Encoder | MaskedLM):
        if labels is None:
            labels = [f"LABEL_{c}" for c in range(config.num_classes)]
        if len(set(labels)) != config.num_classes or len(labels) != config.num_classes:
            raise InputError(f"labels: got {list(labels)}, expected {config.num_classes} names")
        fields["id2label"] = {str(c): name for c, name in enumerate(labels)}
        fields["label2id"] = {name: c for c, name in enumerate(labels)}
        fields["problem_type"] = PROBLEMS[config.problem]
        if config.relu_before_classifier:
            fields[RELU] = True
    elif labels is not None:
        raise InputError(f"labels: got {list(labels)}, expected None for a {type(model).__name__}")
    return fields


def read_config(fields: Mapping[str, Any]) -> tuple[type[Model], EncoderConfig]:
    """Return which model config.json describes, and its configuration.

    Raises
    ------
    InputError
        Naming the field and its value.
    """
    architectures = fields.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1:
        raise InputError(f"architectures: got {architectures!r}, expected one name in a list")
    kind = ARCHITECTURES.get(str(architectures[0]))
    if kind is None:
        raise InputError(
            f"architectures: got {architectures[0]!r}, expected one of {', '.join(ARCHITECTURES)}"
        )
    values = {field.ours: _value(fields, field) for field in FIELDS}
    _check_others(fields, values["dropout"])
    ours_to_theirs = {field.ours: field.theirs for field in FIELDS}
    try:
        if kind in (SequenceClassifier, TokenClassifier):
            return kind, ClassifierConfig.from_dict(values | _classifier_values(fields, kind))
        return kind, EncoderConfig.from_dict(values)
    except InputError as error:
        text = re.sub(r"\w+", lambda m: ours_to_theirs.get(m[0], m[0]), str(error))
        raise InputError(text) from None


def read_labels(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the classes, in order; without names transformers means two classes."""
    named = fields.get("id2label")
    if named is None:
        number = fields.get("num_labels", 2)
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            raise InputError(f"num_labels: got {number!r}, expected a whole number of at least 1")
        return tuple(f"LABEL_{c}" for c in range(number))
    if not isinstance(named, dict) or set(named) != {str(c) for c in range(len(named))}:
        raise InputError(f"id2label: got {named!r}, expected a name for each of 0, 1, ...")
    if fields.get("num_labels", len(named)) != len(named):
        raise InputError(f"num_labels: got {fields['num_labels']}, expected {len(named)}")
    return tuple(str(named[str(c)]) for c in range(len(named)))


def _value(fields: Mapping[str, Any], field: Field) -> Any:
    value = fields.get(field.theirs, field.default)
    if value is None:
        raise InputError(f"{field.theirs}: got nothing, expected {field.kind.__name__}")
    number = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, field.kind) or (field.kind is float and number)) or (
        isinstance(value, bool)
    ):
        raise InputError(f"{field.theirs}: got {value!r}, expected {field.kind.__name__}")
    return "silu" if value == "swish" else value


def _check_others(fields: Mapping[str, Any], dropout: float) -> None:
    known = {field.theirs for field in FIELDS} | set(CLASSIFIER_FIELDS)
    for name, value in fields.items():
        if name in FIXED:
            if value != FIXED[name] or isinstance(value, bool) != isinstance(FIXED[name], bool):
                raise InputError(f"{name}: got {value!r}, expected {FIXED[name]!r}")
        elif name == "classifier_dropout":
            if value is not None and value != dropout:
                raise InputError(
                    f"{name}: got {value!r}, expected null or hidden_dropout_prob = {dropout}"
                )
        elif name not in known and name not in NEUTRAL:
            raise InputError(f"{name}: got {value!r}, expected no such field")


def _classifier_values(fields: Mapping[str, Any], kind: type[Model]) -> dict[str, Any]:
    classes = len(read_labels(fields))
    problem = fields.get("problem_type")
    if problem is None:
        # What transformers does: one column of a sequence classifier is a regression.
        regression = kind is SequenceClassifier and classes == 1
        problem = PROBLEMS["regression" if regression else "classification"]
    ours = {theirs: name for name, theirs in PROBLEMS.items()}
    if problem not in ours:
        raise InputError(f"problem_type: got {problem!r}, expected one of {', '.join(ours)}")
    relu = fields.get(RELU, False)
    if not isinstance(relu, bool):
        raise InputError(f"{RELU}: got {relu!r}, expected true or false")
    return {
        "num_classes": classes,
        "problem": ours[problem],
        "relu_before_classifier": relu,
    }
