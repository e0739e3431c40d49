"""What one family of checkpoints calls its fields and arrays: the form of a table.

Everything that a family says is data, and there is one reader and one writer for all:
`npformer.models.huggingface.config` for config.json, `npformer.models.huggingface.tensors` for the
arrays. Only T5 has a field that says two things at once, for which ``read`` and ``write`` are.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from npformer.models.causal_lm import CausalLM
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2Seq

Model = Encoder | SequenceClassifier | TokenClassifier | MaskedLM | CausalLM | Seq2Seq

REQUIRED: Any = object()
# Other words for ours, and the word that we write.
ACTIVATION_NAMES = {
    "swish": "silu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
THEIR_ACTIVATIONS = {"gelu_tanh": "gelu_new"}


class Field(NamedTuple):
    """A field of config.json: what it is here, and what a missing one means there."""

    ours: str  # an attribute of the configuration; "" if it is none alone
    theirs: str
    kind: type
    default: Any = REQUIRED  # None: the field may say nothing
    because: str = ""  # why it must agree with another field that says the same of ours
    only: tuple[type[Model], ...] = ()  # the models that have it; none named: all


class Row(NamedTuple):
    """A parameter of ours and where it lies in the file; its axes are the model's to say."""

    ours: str  # "{i}" is the number of a layer, here and there
    theirs: str
    transposed: bool = False  # stored (out, in), here (in, out)
    part: int = 0  # arrays of ours that lie in one of theirs, side by side along (out), in order
    place: str = ""  # "row": with an axis of 1 before it; "after padding": see Family.padding
    when: Mapping[str, Any] = {}  # the row is there if the configuration has these values


def rows(
    ours: str, theirs: str, names: Mapping[str, str], *, transposed: bool = True
) -> tuple[Row, ...]:
    """Return the rows of maps, norms and tables, below a prefix of ours and one of theirs.

    ``w``, ``w_q``, ... means the map, whose bias is ``b``, ``b_q``, ...; ``gamma`` means the norm,
    with ``beta``; anything else is a table. A row of which a model has no parameter, such as the
    bias of a map without one, is passed over.
    """
    found: list[Row] = []
    for name, their_name in names.items():
        path, dot, last = name.rpartition(".")
        weight, bias = f"{theirs}{their_name}.weight", f"{theirs}{their_name}.bias"
        part = sum(row.theirs == weight for row in found)
        is_map = last.split("_")[0] == "w"
        found.append(Row(ours + name, weight, transposed and is_map, part))
        if is_map or last == "gamma":
            second = "b" + last[1:] if is_map else "beta"
            found.append(Row(f"{ours}{path}{dot}{second}", bias, part=part))
    return tuple(found)


@dataclass(frozen=True)
class Family:
    """How one kind of checkpoint speaks.

    Every field of its config.json is in one of ``fields``, ``padding`` (read), ``fixed`` (refused
    unless it has this value) and ``neutral`` (no effect on the numbers), or it is a label's; any
    other is refused.
    """

    model_type: str
    architectures: Mapping[str, type[Model]]  # of each model the first name is written
    fields: tuple[Field, ...]
    fixed: Mapping[str, Any]
    neutral: frozenset[str]
    rows: tuple[Row, ...]
    # Beside them; a family with an encoder below its heads names that encoder's rows alone.
    heads: Mapping[type[Model], tuple[Row, ...]] = field(default_factory=dict)
    prefix: str = ""  # before the encoder's arrays in every model but the bare encoder
    copies: Mapping[str, str] = field(default_factory=dict)  # of tied arrays, in some files
    unused: tuple[str, ...] = ()  # patterns of arrays that change no output of ours
    # Fields of ours for which config.json has no word: the value that they must have.
    constants: Mapping[str, Any] = field(default_factory=dict)
    fixed_for: Mapping[type[Model], Mapping[str, Any]] = field(default_factory=dict)
    padding: Field | None = None  # rows of the position table up to this id are never read
    written: Mapping[str, Any] = field(default_factory=dict)  # fields beside those of the table
    # What fields of theirs, by their names, say of ours beyond the table, and the reverse.
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda fields: {}
    write: Callable[[Any], dict[str, Any]] = lambda config: {}

    def table(self, kind: type[Model], config: Any) -> dict[str, Row]:
        """Return the rows of one model, by our names, with ``prefix`` where it has one."""
        chosen = [
            row
            for row in self.rows
            if all(getattr(config, name) == value for name, value in row.when.items())
        ]
        if kind in self.heads:
            chosen = [
                row._replace(ours=f"encoder.{row.ours}", theirs=self.prefix + row.theirs)
                for row in chosen
            ]
        return {row.ours: row for row in (*chosen, *self.heads.get(kind, ()))}
