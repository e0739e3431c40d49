"""TinyBERT, and the systems it is compared with."""

import numpy as np

from npformer import models, ops
from npformer.checks import InputError
from npformer.distill.build import build_terms, init_projections
from npformer.distill.mapping import bottom_mapping, top_mapping, uniform_mapping
from npformer.distill.recipes import RECIPES
from npformer.distill.terms import AttentionScoresTerm, HiddenTerm
from npformer.exercises.quiz.card import card
from npformer.jobs.ablate.rows import PAPER
from npformer.models import cost


@card("tinybert-steps", exercises=("tinybert-step",), docs="interview.md")
def terms_of_each_phase():
    """How is TinyBERT distilled? Stages, losses, order.

    1. General distillation on plain text from the *pretrained* BERT: intermediate layers only. 2.
      Fine-tune the teacher; augment the task's sentences. 3. Task distillation from the
      *fine-tuned* teacher: first intermediate layers, then the prediction. All weights 1.

    Are the four losses ever added up? Not in the paper's runs: intermediate and prediction are
    phases of their own. And general distillation has no masked-LM loss."""
    student, teacher = models.preset("tinybert-4"), models.preset("bert-base")
    recipe = RECIPES["paper"]
    projections = init_projections(recipe, student, teacher, np.random.default_rng(0))
    phases = {
        phase: build_terms(recipe, phase, student, teacher, projections)
        for phase in ("general", "intermediate", "prediction")
    }
    assert set(phases["general"]) == {"embedding", "hidden", "attention"}  # no prediction, no MLM
    assert set(phases["intermediate"]) == set(phases["general"])
    assert set(phases["prediction"]) == {"prediction"}  # and never all at once; no hard labels
    assert all(weight == 1 for terms in phases.values() for weight, _ in terms.values())
    assert phases["general"]["hidden"][1].levels == ((1, 3), (2, 6), (3, 9), (4, 12))


@card(
    "four-losses",
    exercises=("attention-loss", "hidden-loss", "scores-gradient"),
    docs="interview.md",
)
def each_term_reads_its_own():
    """Write down TinyBERT's four losses.

    `MSE(E_S W_e, E_T)`; `MSE(H_S W_h, H_T)` for each mapped layer; the mean over heads of
    `MSE(A_S, A_T)`, A the scores before the softmax; `CE(z_T / tau, z_S / tau)` with tau = 1.

    Many think the embedding loss is missing from the released code. Where is it? In the list of
    hidden states: entry 0 is the output of the embeddings, added into one sum and never logged."""
    rng = np.random.default_rng(1)
    sizes = {"num_heads": 2, "d_ff": 12, "vocab_size": 30, "max_len": 6, "initializer_range": 0.5}
    small = models.EncoderConfig(d_model=8, num_layers=2, **sizes)
    large = models.EncoderConfig(d_model=12, num_layers=4, **sizes)
    ids, keep = rng.integers(0, 30, size=(2, 5)), np.ones((2, 5), bool)
    student, teacher = (
        models.Encoder.init(c, rng, np.float64).forward(ids, output_scores=True)[0]
        for c in (small, large)
    )
    recipe = RECIPES["paper"]
    projections = init_projections(recipe, small, large, rng, np.float64)
    reads = {}
    for name, (_, term) in build_terms(recipe, "general", small, large, projections).items():
        _, cache = term.forward(student, teacher, keep)
        back, grads = term.backward(1.0, cache)
        hidden = [i for i, h in enumerate(back.hidden or ()) if h is not None]
        scores = [i for i, s in enumerate(back.scores or ()) if s is not None]
        reads[name] = (hidden, scores, sorted(grads))
    assert reads["embedding"] == ([0], [], ["embedding.w"])
    assert reads["hidden"] == ([1, 2], [], ["hidden.w"])
    assert reads["attention"] == ([], [0, 1], [])  # no parameters of its own


@card(
    "scores-before-softmax", exercises=("attention-loss", "scores-gradient"), docs="deviations.md"
)
def probabilities_forget():
    """Why does TinyBERT match attention scores before the softmax?

    The paper found faster convergence and better scores. Reason: an error on probabilities comes
    back through the softmax's Jacobian, small for many keys and zero where the student is
    saturated; the scores also keep what the softmax forgets, the level of each row.

    Before or after the mask? Before: with -10000 on padding the MSE compares rounding errors of
    huge numbers. Padded pairs, queries too, must be left out of the mean."""
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(1, 1, 4, 6))
    shifted = scores + rng.normal(size=(1, 1, 4, 1)) * 5  # another number for each query
    probs = [ops.softmax_forward(s)[0] for s in (scores, shifted)]
    assert np.allclose(*probs)
    assert ops.mse_forward(shifted, scores)[0] > 1

    def pull(factor):  # of both losses on a student that is `factor` times as sharp
        student, teacher = factor * scores, rng.normal(size=scores.shape)
        p, cache = ops.softmax_forward(student)
        _, error = ops.mse_forward(p, ops.softmax_forward(teacher)[0])
        through = ops.softmax_backward(ops.mse_backward(1.0, error), cache)
        _, error = ops.mse_forward(student, teacher)
        return np.linalg.norm(through), np.linalg.norm(ops.mse_backward(1.0, error))

    assert pull(1)[1] > 10 * pull(1)[0]  # scores pull harder
    assert pull(60)[0] < pull(1)[0] / 5  # a saturated student learns nothing from probabilities


@card("projection", exercises=("hidden-loss",), docs="cost.md")
def a_map_finds_a_turned_space():
    """What is W_h for, is it needed when widths are equal, and what becomes of it?

    It maps the student's 312 features to the teacher's 768. With equal widths it still helps:
    nothing makes the two use the same basis. It is learned with the student and dropped afterwards;
    240,384 numbers in the released form, only for training.

    One projection or several? Paper: W_e and one W_h. First release: one for all levels, with a
    bias. Second release: one a level. A loader must know all."""
    rng = np.random.default_rng(3)
    knows = rng.normal(size=(1, 40, 6))
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    teacher = models.ModelOutput(hidden=(None, knows @ turn))  # the same, in another basis
    student = models.ModelOutput(hidden=(None, knows))
    keep = np.ones((1, 40), bool)

    def loss(w):
        return HiddenTerm(((1, 1),), ("h",), {"h.w": w}).forward(student, teacher, keep)[0]

    assert loss(np.eye(6)) > 0.5  # equal widths, and far apart
    assert loss(turn) < 1e-20
    small, large = models.preset("tinybert-4"), models.preset("bert-base")
    assert cost.projection_parameters(small, large) == 312 * 768 + 768 == 240384
    try:
        HiddenTerm(((1, 1),), ("h",), {"h.w": np.eye(6)}).forward(
            student, models.ModelOutput(hidden=(None, rng.normal(size=(1, 40, 9)))), keep
        )
    except InputError:
        return
    raise AssertionError("widths 6 and 9 cannot be compared")


@card("layer-mapping", exercises=("layer-mapping",), docs="deviations.md")
def the_same_layers_twice():
    """Which teacher layer does a student layer learn from? Which alternatives were tried?

    Uniform: g(m) = m N / M, layers 3, 6, 9, 12 for 4 of 12, and embeddings from embeddings. Top
    (the last M) and bottom (the first M) were worse in the paper: 70.9 and 71.3 against 75.6 on
    average.

    The released code indexes hidden states by i*K and attention by i*K + K - 1. Off by one? No: the
    list of states begins with the embeddings, so it is one longer."""
    uniform = uniform_mapping(4, 12)
    assert uniform == ((0, 0), (1, 3), (2, 6), (3, 9), (4, 12))
    assert top_mapping(4, 12)[1:] == ((1, 9), (2, 10), (3, 11), (4, 12))
    assert bottom_mapping(4, 12)[1:] == ((1, 1), (2, 2), (3, 3), (4, 4))
    reps = list(range(13))  # 13 hidden states: entry 0 is the embeddings
    atts = list(range(1, 13))  # 12 arrays of scores, of layers 1 .. 12
    assert [reps[i * 3] for i in range(5)] == [g for _, g in uniform]
    assert [atts[i * 3 + 2] for i in range(4)] == [g for _, g in uniform[1:]]  # nothing is shifted
    refused = ""
    try:
        uniform_mapping(5, 12)
    except InputError as error:
        refused = str(error)
    assert "1, 2, 3, 4, 6, 12" in refused  # the depths that divide 12


@card("padding-in-the-attention-loss", exercises=("attention-loss",), docs="deviations.md")
def padding_dilutes():
    """What does padding do to TinyBERT's attention loss as released?

    Only padded keys are zeroed; padded queries count, and the mean divides by the padded area. With
    32 tokens padded to 128 the loss is four times too small, and three quarters of it come from
    rows that nobody reads. Right: count pairs of real tokens.

    How do you test a loss for this? Pad the same batch further: neither the value nor a gradient
    may change."""
    rng = np.random.default_rng(4)
    real, length = 8, 32  # a quarter of the places holds tokens
    keep = np.arange(length)[None] < real
    student, teacher = (
        models.ModelOutput(scores=(rng.normal(size=(1, 6, length, length)),)) for _ in range(2)
    )
    released = AttentionScoresTerm(((1, 1),), mask_queries=False, divide_by_area=True)
    value, cache = AttentionScoresTerm(((1, 1),)).forward(student, teacher, keep)
    theirs, their_cache = released.forward(student, teacher, keep)
    assert 3.3 < value / theirs < 4.7  # a quarter of the size
    dscores = released.backward(1.0, their_cache)[0].scores[0]
    of_padding = (dscores[:, :, real:] ** 2).sum() / (dscores**2).sum()
    assert 0.7 < of_padding < 0.8  # three quarters come from queries that are padding
    ours = AttentionScoresTerm(((1, 1),)).backward(1.0, cache)[0].scores[0]
    assert not ours[:, :, real:].any()
    assert not ours[..., real:].any()
    short = [
        models.ModelOutput(scores=(o.scores[0][..., :real, :real],)) for o in (student, teacher)
    ]
    alone, _ = AttentionScoresTerm(((1, 1),)).forward(*short, keep[:, :real])
    assert np.isclose(alone, value)  # padding changes nothing


@card("what-each-part-is-worth", exercises=("attention-loss", "hidden-loss"), docs="ablations.md")
def what_the_paper_lost():
    """By the paper's ablations, which parts of TinyBERT matter most?

    Without both attention and hidden losses it collapses: 75.6 to 56.3. One of them alone costs 4.6
    (attention) or 2.7 (hidden): they partly stand in for each other. Augmentation is worth as much
    as the whole task stage (7.2, 7.1), general distillation 3.1.

    How sure is that? No spread over seeds is printed, dev sets are small, and CoLA moves most.
    Repeat an ablation over seeds before believing a difference of a point."""
    full = PAPER["full", "full"].average
    lost = {name: full - row.average for name, row in PAPER.items() if name[0] in ("losses",)}
    worst = max(lost, key=lost.get)
    assert worst == ("losses", "attention+hidden")
    assert lost[worst] > 19
    singles = {name[1]: loss for name, loss in lost.items() if name != worst}
    assert list(sorted(singles, key=singles.get)) == [
        "embedding",
        "prediction",
        "hidden",
        "attention",
    ]
    assert lost[worst] > 2 * (singles["attention"] + singles["hidden"])  # they stand in for another
    stages = {
        name: full - PAPER["stages", name].average for name in ("general", "task", "augmentation")
    }
    assert abs(stages["augmentation"] - stages["task"]) < 0.2
    assert stages["general"] < stages["task"] / 2


@card(
    "tinybert-and-others",
    exercises=("pkd-loss", "distilbert-cosine", "minilm-relations"),
    docs="derivations/distillation.md",
)
def normalised_losses():
    """TinyBERT, DistilBERT, PKD, MiniLM, MobileBERT, Theseus: what distinguishes them?

    DistilBERT: pre-training, every other layer copied, soft targets + MLM + cosine of states. PKD:
    fine-tuning, normalised [CLS] states of several layers. MiniLM: last layer only, attention and
    value relations, any width. MobileBERT: 24 thin layers, a special teacher. Theseus: modules
    replaced at random, no extra loss. TinyBERT: both stages, any width.

    Which of them can change the width? TinyBERT by its projections, MiniLM by comparing relations,
    MobileBERT by bottlenecks. A cosine or a copied layer cannot."""
    rng = np.random.default_rng(5)
    student, teacher = rng.normal(size=(2, 6, 9))
    cosine, _ = ops.cosine_forward(student, teacher)  # DistilBERT

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    pkd = ((unit(student) - unit(teacher)) ** 2).sum(axis=-1).mean()  # PKD, on [CLS] states
    assert np.isclose(pkd, 2 * cosine)
    assert np.isclose(ops.cosine_forward(3 * student, teacher)[0], cosine)  # lengths do not count
    assert ops.mse_forward(3 * student, teacher)[0] > 2 * ops.mse_forward(student, teacher)[0]
    for width in (9, 15):  # MiniLM: relations of the values, of any width
        values = rng.normal(size=(1, 6, width))
        relation, _ = ops.softmax_forward(values @ values.swapaxes(1, 2) / np.sqrt(width))
        turn, _ = np.linalg.qr(rng.normal(size=(width, width)))
        turned = values @ turn
        same, _ = ops.softmax_forward(turned @ turned.swapaxes(1, 2) / np.sqrt(width))
        assert np.allclose(relation, same)  # of any basis, too
    try:
        ops.cosine_forward(student, rng.normal(size=(6, 15)))
    except InputError:
        return
    raise AssertionError("a cosine needs equal widths")
