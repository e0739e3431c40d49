"""A course is exercises in an order that teaches: ours, or `npformer.exercises.own`'s."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from npformer.checks import InputError
from npformer.exercises.exercise import Exercise
from npformer.exercises.lookup import by_id

# A chapter is a folder, an exercise a file in it, both named as here.
CHAPTERS = {
    "calculus": """
        linear-backward broadcast-bias relu-backward sigmoid-backward tanh-backward
        gelu-backward softmax softmax-backward log-softmax-backward cross-entropy
        label-smoothing layer-norm layer-norm-backward rms-norm-backward dropout-backward
        embedding-backward residual-backward
    """,
    "attention": """
        scaled-dot-product padding-mask causal-mask fully-masked-row attention-backward
        scores-gradient split-heads multi-head-backward cross-attention kv-cache-step
        online-softmax
    """,
    "positions": """
        sinusoidal learned-positions-backward relative-bias-backward rotary rotary-backward
        alibi
    """,
    "encoder": """
        feed-forward-backward post-ln-backward pre-ln-backward pooler-backward
        tied-head-backward mlm-masking wordpiece
    """,
    "optimization": """
        sgd-momentum adam adamw warmup-schedule clip-global-norm gradient-accumulation
        gradient-checker
    """,
    "distillation": """
        soft-targets kl-backward attention-loss hidden-loss layer-mapping pkd-loss
        distilbert-cosine minilm-relations
    """,
    "programs": """
        multi-head-attention tinybert-step
    """,
}


@dataclass(frozen=True, eq=False)
class Course:
    """Exercises in order.

    Parameters
    ----------
    exercises : sequence of Exercise
    place : str
        What `npformer.exercises.own.open_course` finds it by; "" is our own.
    """

    exercises: Sequence[Exercise]
    place: str = ""

    def find(self, exercise_id: str) -> Exercise:
        """Return the exercise of this id.

        Raises
        ------
        InputError
            If there is none; it says which ids are like it.
        """
        return by_id(self.exercises, exercise_id, "an exercise")


def only_exercise(module: ModuleType) -> Exercise:
    """Return the exercise that a file defines.

    Raises
    ------
    InputError
        If it is not exactly one.
    """
    found = [value for value in vars(module).values() if isinstance(value, Exercise)]
    if len(found) != 1:
        name = f"{module.__name__.rsplit('.', 1)[-1]}.py"
        raise InputError(f"{name}: got {len(found)} exercises, expected one in each file")
    return found[0]


def _load(chapter: str, exercise_id: str) -> Exercise:
    name = f"npformer.exercises.{chapter}.{exercise_id.replace('-', '_')}"
    return only_exercise(importlib.import_module(name))


EXERCISES: tuple[Exercise, ...] = tuple(
    _load(chapter, name) for chapter, names in CHAPTERS.items() for name in names.split()
)
OURS = Course(EXERCISES)
find = OURS.find
