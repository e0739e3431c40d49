"""The distillation loss: a weighted sum of terms, each with its value and gradient kept apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Batch, Counts
from npformer.distill.terms.term import Labels, Term
from npformer.layers.output import ModelOutput, add_outputs, output_arrays
from npformer.train.objective import StepResult
from npformer.types import BoolArray, IntArray, Params, prefixed

WeightedTerms = Mapping[str, tuple[float, Term]]  # name in the log -> (weight, term)

STUDENT = "student"  # the first part of every name of the student's parameters
PROJECTION = "projection"  # and of the terms'
DISTILL_PHASES = ("general", "intermediate", "prediction")
# What the intermediate phases leave alone: they stop at the encoder.
HEAD_PARTS = ("pooler", "classifier")


class Model(Protocol):
    """An `Encoder`, or a classifier on one."""

    @property
    def params(self) -> Params:
        """The model's arrays by dotted name."""
        ...

    def forward(
        self,
        ids: IntArray,
        keep: BoolArray | None = None,
        segments: IntArray | None = None,
        *,
        rng: np.random.Generator | None = None,
        output_scores: bool = False,
        recompute: bool = False,
    ) -> tuple[ModelOutput, Any]:
        """Return the output and the cache."""
        ...

    def backward(self, doutput: ModelOutput, cache: Any) -> tuple[Any, Params]:
        """Return None, because ids have no gradient, and the gradients of ``params``."""
        ...


class Combined(NamedTuple):
    """A sum of terms and its gradients."""

    values: dict[str, float]  # "loss": the weighted sum; the terms' own values are not weighted
    squared_norms: dict[str, float]  # of the weighted gradients at the student's output
    dstudent: ModelOutput
    grads: Params  # of the terms' own parameters


def combine(
    terms: WeightedTerms,
    student: ModelOutput,
    teacher: ModelOutput,
    keep: BoolArray,
    labels: Labels = None,
    counts: Counts | None = None,
) -> Combined:
    r"""Add up terms, :math:`L = \sum_i \lambda_i L_i`, keeping each one's value and gradient norm.

    Parameters
    ----------
    terms : mapping of str to (float, Term)
    student, teacher : ModelOutput
    keep : boolean ndarray of shape (B, T)
    labels : ndarray of shape (B,), optional
    counts : Counts, optional
        Of the whole batch.

    Returns
    -------
    Combined
        Terms that name the same parameter share it: its gradient is the sum of theirs.
    """
    values = {"loss": 0.0}
    squared_norms = {"loss": 0.0}
    dstudent = ModelOutput()
    grads: Params = {}
    for name, (weight, term) in terms.items():
        values[name], cache = term.forward(student, teacher, keep, labels=labels, counts=counts)
        values["loss"] += weight * values[name]
        dterm, term_grads = term.backward(weight, cache)
        squared_norms[name] = squared_norm(dterm)
        dstudent = add_outputs(dstudent, dterm)
        for key, grad in term_grads.items():
            grads[key] = grads[key] + grad if key in grads else grad
    squared_norms["loss"] = squared_norm(dstudent)
    return Combined(values, squared_norms, dstudent, grads)


def squared_norm(doutput: ModelOutput) -> float:
    """Return the sum of squares of all arrays of a cotangent; it adds over the parts of a batch."""
    return sum(float(np.vdot(a, a)) for a in output_arrays(doutput))


@dataclass(frozen=True)
class DistillObjective:
    """The loss of a student that imitates a teacher on the same batch.

    Parameters
    ----------
    student : Model
    teacher : Model or None
        It is read, never differentiated, and not run if no term looks at it. None: its answers come
        with the batches, and the terms look at nothing else of it.
    terms : mapping of str to (float, Term)
        Name in the log, weight, term; at least one.
    teacher_dropout : bool
        Run the teacher with dropout, as TinyBERT's released code does by never calling ``eval()``.

    Notes
    -----
    Gradients are named as the parameters of `joint_params`: ``student.<name>`` for all of the
    student's, ``projection.<name>`` for all of the terms'.
    """

    student: Model
    teacher: Model | None
    terms: WeightedTerms
    teacher_dropout: bool = False

    def __post_init__(self) -> None:
        if not self.terms:
            raise InputError("terms: got none, expected at least one of weight above 0")

    def __call__(self, batch: Batch, counts: Counts, rng: np.random.Generator | None) -> StepResult:
        """Return the loss and gradients of ``batch``, a part of one with these counts.

        Raises
        ------
        InputError
            If nobody gives the teacher's answers, or both it and the batch do.
        """
        if (self.teacher is None) != (batch.teacher_logits is not None):
            given = "no teacher's answers" if self.teacher is None else "answers beside a teacher"
            raise InputError(f"batch: got {given}, expected them if the teacher is None, only then")
        # Both are made in either case: the student's masks do not depend on the teacher's dropout.
        rngs = [None, None] if rng is None else rng.spawn(2)
        scores = any(term.needs_scores for _, term in self.terms.values())
        inputs = batch.ids, batch.keep, batch.segments
        target = ModelOutput(logits=batch.teacher_logits)
        if self.teacher is not None and any(term.needs_teacher for _, term in self.terms.values()):
            # Nobody goes back through the teacher, so its caches need not outlive its blocks.
            target, _ = self.teacher.forward(
                *inputs,
                rng=rngs[1] if self.teacher_dropout else None,
                output_scores=scores,
                recompute=True,
            )
        output, cache = self.student.forward(*inputs, rng=rngs[0], output_scores=scores)
        total = combine(self.terms, output, target, batch.keep, batch.labels, counts)
        _, grads = self.student.backward(total.dstudent, cache)
        return StepResult(
            total.values,
            total.squared_norms,
            joint_params(grads, total.grads),
        )


def joint_params(student: Params, projections: Params) -> Params:
    """Return one flat dict of both; nothing is copied."""
    return prefixed(STUDENT, student) | prefixed(PROJECTION, projections)


def trainable(names: Iterable[str], phase: str) -> list[str]:
    """Return those names of `joint_params` that a phase trains; the others must not move.

    The intermediate losses, "general" and "intermediate", stop at the encoder's outputs: they train
    the encoder and the projections. The "prediction" phase trains the whole student; its loss does
    not pass through a projection.

    Parameters
    ----------
    names : iterable of str
    phase : str
        One of `DISTILL_PHASES`.

    Returns
    -------
    list of str
        In the order of ``names``.
    """
    check_phase(phase)
    if phase == "prediction":
        return [name for name in names if name.startswith(f"{STUDENT}.")]
    heads = tuple(f"{STUDENT}.{head}." for head in HEAD_PARTS)
    return [name for name in names if not name.startswith(heads)]


def check_phase(phase: str) -> None:
    """Require one of `DISTILL_PHASES`."""
    if phase not in DISTILL_PHASES:
        raise InputError(f"phase: got {phase!r}, expected one of {', '.join(DISTILL_PHASES)}")
