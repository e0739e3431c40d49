r"""TinyBERT in its real order, from plain text to a compared student.

1. *pretrain*: a teacher learns language, by masked words.
2. *general distillation*: a new student imitates the **pretrained** teacher's embeddings, hidden
   states and attention scores on plain text.
3. *fine-tune*: the teacher learns the task.
4. *augment*: more sentences of the task, words replaced by what the masked LM finds likely.
5. *task distillation, intermediate*: the student imitates the **fine-tuned** teacher's layers.
6. *task distillation, prediction*: and then its predictions, which it gives once.
7. *baselines*: the same architecture learns from the labels alone, or from the teacher's
   predictions alone, with as many updates.
8. *compare*.

References
----------
Jiao et al. 2020, "TinyBERT: distilling BERT for natural language understanding", figure 1.
"""

from collections.abc import Callable
from typing import Any

from npformer.jobs.distill.augmentation import augmented_texts
from npformer.jobs.distill.baseline import scratch, soft
from npformer.jobs.distill.comparison import compare
from npformer.jobs.distill.figures import save_figures
from npformer.jobs.distill.job import prepare
from npformer.jobs.distill.settings import Settings
from npformer.jobs.distill.student import check_fit, general, intermediate, prediction
from npformer.jobs.distill.teacher import finetune, given_models, pretrain, warn_at_chance
from npformer.train.run import Run, write_json


def distil(run: Run, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Do all phases, or those a run has left to do, and return the comparison.

    Parameters
    ----------
    run : Run
        New or resumed.
    settings : Settings
    say : callable
        Gets a line of text at each phase.

    Returns
    -------
    dict
        What ``results.json`` holds; see `npformer.jobs.distill.comparison.compare`.

    Raises
    ------
    InputError
        If the data, the sizes or the folders cannot be used.
    KeyboardInterrupt
        After Ctrl-C, once the state is saved.
    """
    job = prepare(run, settings, say)
    given = given_models(job)
    check_fit(job, given)
    say(f"run: {run.folder}")
    say(job.summary)
    if given.finetuned is not None:
        warn_at_chance(job, job.evaluator(given.finetuned)())
    pretrained = given.pretrained or pretrain(job)
    student = general(job, pretrained)
    teacher = given.finetuned or finetune(job, pretrained)
    texts = augmented_texts(job, pretrained, teacher, given.augmenter)
    student = intermediate(job, student, teacher, texts)
    distilled = prediction(job, student, teacher, texts)
    models = {"teacher": teacher, "student": distilled}
    if "scratch" in settings.baselines:
        models["scratch"] = scratch(job, student.config)
    if "soft" in settings.baselines:
        models["soft"] = soft(job, pretrained, teacher, texts)
    say("compare: on dev")
    results = compare(job, models)
    results = {"settings": settings.to_dict(), "measure": job.primary, **results}
    write_json(run.folder / "results.json", results)
    for path in save_figures(job, teacher, distilled):
        say(f"figure: {path}")
    return results
