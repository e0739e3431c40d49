"""What all phases of a run share: the settings, the data, and where things are kept."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npformer.checks import InputError
from npformer.data.batches import Batch, Encoded, batch_stream, steps_per_epoch
from npformer.data.glue import Task, load_folder, read_texts, take_labelled
from npformer.data.reviews import generate_reviews
from npformer.data.tokenizer import (
    SpecialIds,
    encode_examples,
    load_tokenizer,
    special_ids,
    train_wordpiece,
)
from npformer.distill.recipes import Recipe, find_recipe
from npformer.jobs.distill.settings import BASELINES, LABELLED_REVIEWS, PHASES, Settings
from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface import find_model, write_model
from npformer.models.huggingface.family import Model
from npformer.train.job import dev_scores, save
from npformer.train.phase import Evaluate, Phase
from npformer.train.run import Run, write_text
from npformer.types import Params

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Independent streams of random numbers of one phase.
INIT, ORDER, DROPOUT, MASK = range(1, 5)

PROJECTIONS = "projections.safetensors"


@dataclass(frozen=True)
class Job:
    """A run with its data."""

    run: Run
    settings: Settings
    task: Task
    tokenizer: "Tokenizer"
    teacher_folder: Path | None  # of a teacher that is there already
    train: Encoded
    dev: Encoded
    unlabelled: Encoded
    cut: int  # how many texts were longer than max_len
    say: Callable[[str], None]  # gets one line of what is going on

    @property
    def recipe(self) -> Recipe:
        """The flags of TinyBERT's variants."""
        settings, recipe = self.settings, find_recipe(self.settings.recipe)
        mapping = recipe.mapping if settings.mapping is None else settings.mapping
        return replace(recipe, mapping=mapping, heads=settings.heads)

    @property
    def special(self) -> SpecialIds:
        """The ids of [PAD], [MASK] and so on."""
        return special_ids(self.tokenizer)

    @property
    def summary(self) -> str:
        """What there is to learn from, in a line."""
        cut = f"; {self.cut:,} cut at {self.settings.max_len} pieces" if self.cut else ""
        return (
            f"{self.task.name}: {len(self.train):,} labelled, {len(self.unlabelled):,} unlabelled, "
            f"{len(self.dev):,} dev; {self.tokenizer.get_vocab_size():,} word pieces{cut}"
        )

    @property
    def primary(self) -> str:
        """The measure that counts, GLUE's for the task."""
        return self.task.measure

    def seed(self, phase: str, stream: int) -> tuple[int, ...]:
        """Return the numbers from which a stream of a phase is derived."""
        return (self.settings.seed, PHASES.index(phase), stream)

    def rng(self, phase: str, stream: int) -> np.random.Generator:
        """Return the generator of a stream of a phase, at its beginning."""
        return np.random.default_rng(self.seed(phase, stream))

    def steps(self, phase: str, examples: int) -> int:
        """Return how many updates a phase makes on so many examples."""
        drop_last = self.recipe.drop_last
        per_epoch = steps_per_epoch(examples, self.settings.batch_size, drop_last=drop_last)
        return self.settings.steps_of(phase, per_epoch)

    def batches(self, phase: str, encoded: Encoded, steps: int) -> Callable[[int], Iterable[Batch]]:
        """Return the function that gives a phase's batches from a step on."""
        return lambda start: batch_stream(
            encoded,
            self.settings.batch_size,
            self.special.pad,
            seed=self.seed(phase, ORDER),
            steps=steps,
            start_step=start,
            drop_last=self.recipe.drop_last,
        )

    def phase(self, phase: str, steps: int, *, name: str | None = None) -> Phase:
        """Return how a phase trains."""
        recipe, settings = self.recipe, self.settings
        return Phase(
            name or phase,
            steps,
            0.0 if phase in BASELINES else settings.rate_of(phase),
            recipe.make_optimizer(),
            self.seed(phase, DROPOUT),
            schedule=recipe.schedule if phase == "intermediate" else None,
            clip=recipe.clipping,
            shards=recipe.shards(settings.shards),
            evaluate_every=max(1, steps // 5),
            checkpoint_every=max(1, min(200, steps // 4)),
            keep_best=(recipe.select_best and phase == "prediction")
            # Many passes over the labels: what a baseline overfits to must not be held against it.
            or (settings.kind == "checkpoint" and phase in BASELINES),
        )

    def classifier_config(self, config: EncoderConfig) -> ClassifierConfig:
        """Return the configuration of a classifier of this task on such an encoder."""
        regression = self.task.kind == "regression"
        return ClassifierConfig.on(
            config,
            num_classes=1 if regression else len(self.task.label_names),
            problem=self.task.kind,
            relu_before_classifier=self.recipe.relu_before_classifier,
        )

    def evaluator(self, model: SequenceClassifier) -> Evaluate:
        """Return the function that scores a model on dev; the measure that counts comes first."""
        return lambda: dev_scores(model, self.dev, self.special.pad, self.task)

    def folder(self, name: str) -> Path:
        """Return where a model is saved: those that stay by name, the others below phases/."""
        top = self.run.folder
        stay = ("teacher", "student", *BASELINES)
        return top / name if name in stay else top / "phases" / name

    def save(self, model: Model, name: str, projections: Params | None = None) -> None:
        """Save a model, with its tokenizer, and what else the next phase reads."""
        from safetensors import numpy

        labels = list(self.task.label_names) if isinstance(model, SequenceClassifier) else None

        def write(folder: Path) -> None:
            write_model(model, folder, labels=labels or None)
            if projections is not None:
                # Not save_file, which reports a full disk as an error of its own kind.
                (folder / PROJECTIONS).write_bytes(numpy.save(projections))

        save(self.folder(name), self.tokenizer, write)

    def projections(self, name: str) -> Params:
        """Read the projections that were saved beside a model."""
        from safetensors.numpy import load_file

        arrays: Params = load_file(self.folder(name) / PROJECTIONS)
        return arrays


def prepare(run: Run, settings: Settings, say: Callable[[str], None]) -> Job:
    """Read or make the data, and the tokenizer.

    The tokenizer is kept in the run's folder, unless a given teacher brings its own.

    Raises
    ------
    InputError
        If the data cannot be used.
    """
    task = load_task(settings)
    more = [text for file in settings.unlabelled for text in read_texts(file)]
    texts = [*(task.unlabelled or [*task.train.first, *(task.train.second or [])]), *more]
    path = run.folder / "tokenizer.json"
    teacher = None if settings.has_teacher_size else find_given("teacher", settings.teacher)
    if teacher is not None:
        tokenizer = load_tokenizer(teacher)
    elif path.exists():
        tokenizer = load_tokenizer(path)
    else:
        tokenizer = train_wordpiece(texts, settings.vocab_size)
        write_text(path, tokenizer.to_str(pretty=True))
    cut = 0
    encoded = []
    for split in (task.train, task.dev):
        part, too_long = encode_examples(
            tokenizer, split.first, split.second, split.labels, max_len=settings.max_len
        )
        encoded.append(part)
        cut += too_long
    # Without text of its own the task's examples serve, pairs as pairs.
    own = Encoded([], []) if task.unlabelled else replace(encoded[0], labels=None)
    plain, too_long = encode_examples(
        tokenizer, [*task.unlabelled, *more], max_len=settings.max_len
    )
    cut += too_long
    unlabelled = Encoded(own.ids + plain.ids, own.segments + plain.segments)
    train, dev = encoded
    return Job(run, settings, task, tokenizer, teacher, train, dev, unlabelled, cut, say)


def find_given(option: str, name: str) -> Path:
    """Return the folder of a model that an option names.

    Raises
    ------
    InputError
        If there is none.
    """
    size = "a size such as 4x128x4, or the name of " if option == "teacher" else ""
    try:
        return find_model(name)
    except InputError as error:
        raise InputError(f"--{option}: got {name}, expected {size}a model ({error})") from None


def load_task(settings: Settings) -> Task:
    """Return the reviews, or the task in a folder, with as many labelled examples as asked for.

    Raises
    ------
    InputError
        If there are fewer, or if all those chosen have the same label.
    """
    task = _load_task(settings)
    labels = task.train.labels
    if labels is not None and len(np.unique(labels)) < 2:
        raise InputError(
            f"--labelled: got {settings.labelled} with one label between them, expected enough "
            "for two"
        )
    return task


def _load_task(settings: Settings) -> Task:
    if settings.data is None:
        labelled = settings.labelled or LABELLED_REVIEWS
        return generate_reviews(labelled=labelled, unlabelled=settings.reviews, seed=settings.seed)
    return take_labelled(load_folder(settings.data), settings.labelled, settings.seed)
