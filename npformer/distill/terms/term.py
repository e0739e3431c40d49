"""What every term has in common."""

from typing import Any, Protocol

from npformer.checks import InputError
from npformer.data.batches import Counts
from npformer.layers.output import ModelOutput
from npformer.types import BoolArray, FloatArray, IntArray, Params

Labels = IntArray | FloatArray | None  # (B,), or (B, T) of tokens


class Term(Protocol):
    """A loss between a student's and a teacher's output: a layer whose output is a number.

    The teacher, the mask and the labels are constants. The value and the gradients are divided by
    ``counts``, those of the *whole* batch, so that the parts of a batch add up to it; without
    ``counts`` the batch at hand is the whole.
    """

    @property
    def params(self) -> Params:
        """What is learned with the student and thrown away afterwards, by dotted name."""
        ...

    @property
    def needs_teacher(self) -> bool:
        """Whether the term reads anything of the teacher's output."""
        ...

    @property
    def needs_scores(self) -> bool:
        """Whether the term reads attention scores, which models keep only if asked to."""
        ...

    def forward(
        self,
        student: ModelOutput,
        teacher: ModelOutput,
        keep: BoolArray,
        *,
        labels: Labels = None,
        counts: Counts | None = None,
    ) -> tuple[float, Any]:
        """Return the value and the cache."""
        ...

    def backward(self, dvalue: float, cache: Any) -> tuple[ModelOutput, Params]:
        """Return the gradient of the student's output, None where silent, and of ``params``."""
        ...


def hidden_state(output: ModelOutput, index: int, owner: str) -> FloatArray:
    """Return hidden[index] of shape (B, T, D)."""
    return _entry(output.hidden, index, f"the {owner}'s hidden states")


def layer_scores(output: ModelOutput, layer: int, owner: str) -> FloatArray:
    """Return the scores of a layer, counted from 1, of shape (B, H, T, T)."""
    return _entry(output.scores, layer - 1, f"the {owner}'s attention scores")


def logits_of(output: ModelOutput, owner: str) -> FloatArray:
    """Return the logits."""
    if output.logits is None:
        raise InputError(f"the {owner}'s logits: got none, expected a model with a classifier")
    return output.logits


def silent_but(length: int, arrays: dict[int, FloatArray]) -> tuple[FloatArray | None, ...]:
    """Return the cotangents of ``length`` outputs, None wherever ``arrays`` has none."""
    return tuple(arrays.get(i) for i in range(length))


def _entry(arrays: tuple[FloatArray | None, ...] | None, index: int, what: str) -> FloatArray:
    if arrays is None:
        raise InputError(f"{what}: got none, expected the model to be asked for them")
    array = arrays[index] if 0 <= index < len(arrays) else None
    if array is None:
        raise InputError(f"{what}: got none at index {index} of {len(arrays)}")
    return array
