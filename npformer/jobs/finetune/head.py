"""A masked-LM head for a checkpoint that has none: the encoder stays as it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npformer.checks import InputError, article
from npformer.data.batches import Batch, Encoded, batch_stream, collate, steps_per_epoch
from npformer.data.glue import read_texts
from npformer.data.tokenizer import encode_examples, load_tokenizer, special_ids
from npformer.jobs.finetune.figures import save_curves
from npformer.jobs.finetune.settings import HeadSettings
from npformer.models.encoder import Encoder
from npformer.models.huggingface import find_model, from_pretrained, write_model
from npformer.models.masked_lm import MaskedLM
from npformer.optim import AdamW
from npformer.train.evaluate import masked_scores
from npformer.train.job import masked, save
from npformer.train.objective import HeadObjective
from npformer.train.phase import Phase, run_phase
from npformer.train.run import Run, write_json
from npformer.types import part, prefixed

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Independent streams of random numbers.
INIT, ORDER, MASK, HELDOUT = range(1, 5)
# So many held-out texts, from all over their file, measure to about half a point.
MOST_HELDOUT = 1_000


@dataclass(frozen=True)
class Job:
    """A run with its texts, and the model as it begins."""

    run: Run
    settings: HeadSettings
    tokenizer: "Tokenizer"
    texts: Encoded
    heldout: list[Batch]  # masked once and for all; empty without a file
    model: MaskedLM

    @property
    def steps(self) -> int:
        """How many updates the training has."""
        per_epoch = steps_per_epoch(len(self.texts), self.settings.batch_size)
        return max(1, round(self.settings.epochs * per_epoch))

    def batches(self, start: int) -> Iterator[Batch]:
        """Yield the batches from a step on, other words hidden in each."""
        seed = self.settings.seed
        stream = batch_stream(
            self.texts,
            self.settings.batch_size,
            special_ids(self.tokenizer).pad,
            seed=(seed, ORDER),
            steps=self.steps,
            start_step=start,
        )
        for step, batch in enumerate(stream, start=start):
            yield masked(batch, self.tokenizer, (seed, MASK, step))

    def scores(self) -> dict[str, float]:
        """Measure the model, as it is now, on the held-out text."""
        return masked_scores(self.model, self.heldout) if self.heldout else {}


def prepare(run: Run, settings: HeadSettings, say: Callable[[str], None]) -> Job:
    """Read the texts and the checkpoint, and put a new head on it.

    Raises
    ------
    InputError
        If they cannot be used, or do not fit what is asked for.
    """
    folder = find_model(settings.model)
    encoder = from_pretrained(folder)
    if isinstance(encoder, MaskedLM):
        raise InputError(f"model: got {folder}, which has a masked-LM head, expected one without")
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"model: got {folder}, {article(type(encoder).__name__)}, expected a pretrained encoder"
        )
    config = encoder.config
    if settings.max_len > config.max_len:
        raise InputError(
            f"max_len: got {settings.max_len}, expected at most the model's {config.max_len}"
        )
    tokenizer = load_tokenizer(folder, vocab_size=config.vocab_size)
    model = MaskedLM.on(config, encoder.params, np.random.default_rng([settings.seed, INIT]))
    texts = [text for path in settings.unlabelled for text in read_texts(path)]
    encoded, cut = encode_examples(tokenizer, texts, max_len=settings.max_len)
    heldout: list[Batch] = []
    if settings.heldout is not None:
        lines = read_texts(settings.heldout)
        some = np.unique(np.linspace(0, len(lines) - 1, MOST_HELDOUT).round().astype(int))
        chosen, _ = encode_examples(tokenizer, [lines[i] for i in some], max_len=settings.max_len)
        heldout = _masked_batches(chosen, tokenizer, settings)
    say(f"{folder}: encoder read and kept as it is, masked-LM head drawn")
    say(f"{len(encoded):,} texts" + (f"; {cut:,} cut at {settings.max_len} pieces" if cut else ""))
    return Job(run, settings, tokenizer, encoded, heldout, model)


def train_head(run: Run, settings: HeadSettings, say: Callable[[str], None]) -> dict[str, Any]:
    """Train a masked-LM head, or go on with it, and save the model in the run's ``model``.

    The encoder gives the states, the head learns to name the hidden words from them; the output
    matrix is the encoder's token table, so that it does not move either.

    Parameters
    ----------
    run : Run
        New or resumed.
    settings : HeadSettings
    say : callable
        Gets a line of what is going on.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    InputError
        If the texts, the model or what is asked of them do not fit.
    KeyboardInterrupt
        After Ctrl-C, once the state is saved.

    References
    ----------
    Devlin et al. 2019, "BERT", section 3.1, task 1. Deviations: all but the head is frozen.
    """
    job = prepare(run, settings, say)
    if run.finished("head") is None:
        info = _train(job, say)

        def write(folder: Path) -> None:
            write_model(job.model, folder)

        run.finish("head", info, lambda: save(run.folder / "model", job.tokenizer, write))
    info = run.finished("head") or {}
    results = {
        "settings": settings.to_dict(),
        "texts": len(job.texts),
        "heldout_targets": sum(batch.counts.targets for batch in job.heldout),
        **{name: info[name] for name in ("parameters", "before", "after", "steps", "seconds")},
    }
    write_json(run.folder / "results.json", results)
    say(f"figure: {save_curves(run.folder, 'masked_accuracy')}")
    return results


def _train(job: Job, say: Callable[[str], None]) -> dict[str, Any]:
    settings, steps = job.settings, job.steps
    # The arrays themselves, which training writes in place.
    params = prefixed("head", part(job.model.params, "head"))
    parameters = sum(array.size for array in params.values())
    say(f"head: {parameters:,} parameters, {steps:,} updates")
    before = job.scores()
    phase = Phase(
        "head",
        steps,
        settings.rate,
        AdamW(),
        (settings.seed,),  # of dropout, which there is none of
        warmup=settings.warmup,
        shards=settings.shards,
        evaluate_every=max(1, steps // 4),
        checkpoint_every=max(1, min(500, steps // 4)),
    )
    with run_phase(
        job.run,
        phase,
        params,
        HeadObjective(job.model),
        job.batches,
        job.scores if job.heldout else None,
    ) as progress:
        for update in progress.updates:
            progress.record(update)
    info = progress.info
    own = {name: info.pop(name) for name in ("steps", "seconds")}
    return {"parameters": parameters, "before": before, "after": info, **own}


def _masked_batches(
    encoded: Encoded, tokenizer: "Tokenizer", settings: HeadSettings
) -> list[Batch]:
    """Put texts of near-equal length together, and hide words that stay the same all along."""
    order = np.argsort(encoded.lengths, kind="stable")
    pad_id, size = special_ids(tokenizer).pad, settings.batch_size
    return [
        masked(
            collate(encoded, order[i : i + size], pad_id),
            tokenizer,
            (settings.seed, HELDOUT, i),
        )
        for i in range(0, len(order), size)
    ]
