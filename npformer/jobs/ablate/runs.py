"""One run of a grid, from plain data: it can be sent to another process, or another machine."""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from npformer.checks import InputError
from npformer.distill.mapping import layer_mapping
from npformer.distill.objective import DISTILL_PHASES
from npformer.jobs.ablate.rows import FULL, Row, settings_of
from npformer.jobs.distill.augmentation import COPIES, amounts_of, augmented_texts
from npformer.jobs.distill.job import Job, prepare
from npformer.jobs.distill.settings import Settings
from npformer.jobs.distill.student import (
    check_fit,
    general,
    intermediate,
    prediction,
    student_config,
)
from npformer.jobs.distill.teacher import (
    AT_CHANCE,
    Given,
    constant_score,
    finetune,
    given_models,
    pretrain,
    teacher_configs,
)
from npformer.jobs.distill.teacher_logits import FILE, with_teacher_logits
from npformer.models.heads import SequenceClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.train.evaluate import predict_logits, score
from npformer.train.parallel import one_blas_thread
from npformer.train.run import open_run, write_json

RESULTS = "results.json"


@dataclass(frozen=True)
class Spec:
    """What one run has to do; nothing but strings and numbers."""

    out: str  # the grid's folder, absolute; on a cluster one that all machines see
    settings: Settings  # of the full method; its seed is that of the run
    rows: tuple[Row, ...]  # of the grid
    row: Row | None = None  # which one to run; None: the seed's teacher, which comes before them

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        above = "teachers" if self.row is None else self.row.folder
        return Path(self.out) / above / f"seed-{self.settings.seed}"

    @property
    def teacher(self) -> "Spec":
        """The run that makes this seed's teacher."""
        return replace(self, row=None)


def execute(spec: Spec) -> dict[str, Any]:
    """Do a run, or what is left of it, and return what its ``results.json`` holds.

    A finished run is only read. But for "seconds" the result depends on the spec alone: not on
    the process that did it, nor on how often it was interrupted. Needs the seed's teacher, unless
    it is to make it.

    Raises
    ------
    InputError
        If the settings, the data or the folders cannot be used, or training diverges.
    KeyboardInterrupt
        After Ctrl-C, once the state is saved.
    """
    path = spec.folder / RESULTS
    if path.exists():
        return _read(path)
    started = time.perf_counter()
    settings = spec.settings if spec.row is None else _settings(spec, spec.row)
    there = (spec.folder / "run.json").exists()
    with open_run(spec.folder, None if there else settings.to_dict()) as run, one_blas_thread():
        job = prepare(run, settings, lambda line: None)
        results = _teacher(job, spec.rows) if spec.row is None else _student(job, spec)
    write_json(path, results | {"seconds": time.perf_counter() - started})
    return _read(path)


def _teacher(job: Job, rows: Sequence[Row]) -> dict[str, Any]:
    """Train what is not given, augment the sentences, and ask the teacher: the rows read it all."""
    given = given_models(job)
    _check_rows(job, given, rows)
    pretrained = given.pretrained or pretrain(job)
    teacher = given.finetuned or finetune(job, pretrained)
    texts = augmented_texts(job, pretrained, teacher, given.augmenter)
    with_teacher_logits(job, teacher, texts, job.steps("prediction", len(texts)))
    amounts = {"general": job.unlabelled, "intermediate": texts, "prediction": texts}
    dev = _dev(job, teacher)
    return {
        "seed": job.settings.seed,
        "measure": job.primary,
        "dev": dev,
        "at_chance": dev[job.primary] <= constant_score(job) + AT_CHANCE,
        "sentences": len(texts),
        "steps": {phase: job.steps(phase, len(amounts[phase])) for phase in amounts},
    }


def _student(job: Job, spec: Spec) -> dict[str, Any]:
    """Distil as a row has it."""
    pretrained, teacher, augmenter = given_models(job)
    if spec.row is None or pretrained is None or teacher is None:
        raise ValueError("expected a row and its two teachers")
    _copy_texts(job, spec.teacher.folder)
    student = general(job, pretrained)
    texts = augmented_texts(job, pretrained, teacher, augmenter)
    student = intermediate(job, student, teacher, texts)
    # Without the prediction term the paper learns from the labels of the original examples.
    last = job.train if "prediction" in spec.row.terms else texts
    distilled = prediction(job, student, teacher, last)
    weights = (job.folder("student") / "model.safetensors").read_bytes()
    return {
        "table": spec.row.table,
        "row": spec.row.name,
        "seed": job.settings.seed,
        "measure": job.primary,
        "dev": _dev(job, distilled),
        "sentences": len(last),
        "steps": dict(job.settings.steps),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def _settings(spec: Spec, row: Row) -> Settings:
    """Return what a row's run is asked to do, with the folders of the teacher that was made."""
    made, settings = spec.teacher.folder, spec.settings
    steps = _read(made / RESULTS)["steps"]
    # What was given is not there: only what the seed's own run has trained.
    pretrained, finetuned = (
        str(folder) if folder.exists() else None
        for folder in (made / "phases" / "pretrain", made / "teacher")
    )
    settings = replace(
        settings,
        general_teacher=pretrained or settings.general_teacher or settings.teacher,
        teacher=finetuned or settings.teacher,
        # A folder as teacher has other defaults.
        rates={phase: settings.rate_of(phase) for phase in DISTILL_PHASES},
    )
    return settings_of(row, settings, steps)


def _copy_texts(job: Job, made: Path) -> None:
    """Take over the augmented sentences, if this row reads them, and the teacher's answers."""
    if not amounts_of(job):
        return
    for phase, names in (("augment", COPIES.values()), ("answer", (FILE,))):
        files = [made / name for name in names if (made / name).exists()]

        def copy(files: list[Path] = files) -> None:
            for path in files:
                shutil.copyfile(path, job.run.folder / path.name)

        if files and job.run.finished(phase) is None:
            job.run.finish(phase, {"from": str(made)}, copy)


def _check_rows(job: Job, given: Given, rows: Sequence[Row]) -> None:
    """Refuse what would fail in one of the rows, or make it equal to the full method."""
    before, _ = teacher_configs(job, given)
    depths = student_config(job, before).num_layers, before.num_layers
    for row in sorted(rows, key=lambda row: row != FULL):
        settings = settings_of(row, job.settings, dict.fromkeys(DISTILL_PHASES, 1))
        if settings.weights.get("hard_label") and job.task.kind == "regression":
            raise InputError(
                f"{row.option}: got {row.name} for a regression, expected it for classes only: "
                "it learns from hard labels"
            )
        changed = replace(job, settings=settings)
        check_fit(changed, given)
        if row.table == "mapping" and (
            layer_mapping(row.name, *depths) == layer_mapping(job.recipe.mapping, *depths)
        ):
            raise InputError(
                f"{row.option}: got {row.name}, which for a student of {depths[0]} and a teacher "
                f"of {depths[1]} layers is the full method's own, expected other depths"
            )
        if row == Row("stages", "augmentation") and not _augments(job, given):
            raise InputError(
                f"{row.option}: got augmentation, of which there is none (--copies 0, or a teacher "
                "without a masked-LM head), expected the other stages"
            )


def _augments(job: Job, given: Given) -> bool:
    has_head = given.pretrained is None or isinstance(given.pretrained, MaskedLM)
    return (has_head or job.settings.augmenter != "teacher") and bool(amounts_of(job))


def _dev(job: Job, model: SequenceClassifier) -> dict[str, float]:
    logits = predict_logits(model, job.dev, job.special.pad, threads=1)
    return score(logits, job.dev.labels, job.task.kind)


def _read(path: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: got {error}, expected the JSON of a run") from error
    return results
