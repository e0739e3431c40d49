"""Knowledge distillation in general: teachers and students of all kinds."""

import numpy as np

from npformer import models, ops
from npformer.checks import InputError
from npformer.distill.terms import AttentionScoresTerm, HiddenTerm, LogitMseTerm, PredictionTerm
from npformer.exercises.quiz.card import card


@card("teacher-in-eval-mode", exercises=("tinybert-step",), docs="deviations.md")
def a_noisy_teacher():
    """In which state must the teacher be while the student learns?

    Frozen and in prediction mode: no gradient, no dropout, no running statistics. With dropout the
    targets are noise around what it knows. TinyBERT's released scripts never call `eval()` on it.
    And it must be fine-tuned on the task: check its score first.

    Can its outputs be computed once and stored? Yes, if the student sees the same inputs: logits
    are small. With hidden states and scores, storage soon costs more than the forward."""
    rng = np.random.default_rng(8)
    config = models.ClassifierConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=30, max_len=6, num_classes=3,
        dropout=0.1, attention_dropout=0.1, initializer_range=0.5,
    )  # fmt: skip
    teacher = models.SequenceClassifier.init(config, rng, np.float64)
    ids = rng.integers(0, 30, size=(4, 5))
    targets = [
        ops.softmax_forward(teacher.forward(ids, rng=np.random.default_rng(i))[0].logits)[0]
        for i in range(20)
    ]
    assert np.std(targets, axis=0).max() > 0.02  # in training mode no two targets agree
    quiet = [teacher.forward(ids)[0].logits for _ in range(2)]
    assert np.array_equal(*quiet)


@card("capacity-gap", exercises=("soft-targets",), docs="ablations.md")
def confidence_hides_the_rest():
    """Does a better teacher always make a better student?

    No. A very large teacher computes what the student cannot represent, and is so certain that its
    soft targets are nearly labels. Remedies: a higher temperature, a teacher assistant of middle
    size, stopping early, matching relations instead of values.

    How do you tell a capacity gap from bad training? By the loss on the training set: if the
    student cannot even match the teacher there, it is capacity or optimization, not data."""
    rng = np.random.default_rng(9)
    logits = rng.normal(size=(200, 5))

    def left_over(z):  # what the teacher says beside its first choice
        return (1 - ops.softmax_forward(z)[0].max(axis=-1)).mean()

    shares = [left_over(factor * logits) for factor in (1, 3, 10)]  # more and more certain
    assert shares[0] > 2 * shares[1] > 4 * shares[2]
    assert np.isclose(left_over(10 * logits / 10), shares[0])  # a temperature undoes it


@card(
    "response-feature-relation",
    exercises=("minilm-relations", "hidden-loss", "pkd-loss"),
    docs="derivations/distillation.md",
)
def what_needs_equal_widths():
    """Three kinds of knowledge to distil: response, feature, relation. What does each demand?

    Response: outputs; demands only the same classes. Feature: hidden states; needs equal widths or
    a learned projection, and a layer mapping. Relation: how tokens or examples compare (attention
    maps, value relations, distances); free of widths.

    Which kind is attention distillation? Relation: (T, T) maps. It is free of the width, but not of
    the number of heads."""
    rng = np.random.default_rng(10)
    narrow, wide = rng.normal(size=(1, 5, 8)), rng.normal(size=(1, 5, 12))  # hidden states
    keep = np.ones((1, 5), bool)
    same = {"w.w": np.eye(8)}
    outputs = [models.ModelOutput(hidden=(None, h)) for h in (narrow, wide)]
    refused = ""
    try:
        HiddenTerm(((1, 1),), ("w",), same).forward(*outputs, keep)  # feature
    except InputError as error:
        refused = str(error)
    assert "shape" in refused
    projected = HiddenTerm(((1, 1),), ("w",), {"w.w": rng.normal(size=(8, 12))})
    assert projected.forward(*outputs, keep)[0] > 0
    relations = [ops.softmax_forward(h @ h.swapaxes(1, 2))[0] for h in (narrow, wide)]  # relation
    assert relations[0].shape == relations[1].shape == (1, 5, 5)
    logits = models.ModelOutput(logits=rng.normal(size=(1, 3)))  # response
    dstudent, _ = PredictionTerm().backward(1.0, PredictionTerm().forward(logits, logits, keep)[1])
    assert (dstudent.hidden, dstudent.scores) == (None, None)


@card(
    "different-shapes",
    exercises=("layer-mapping", "minilm-relations", "attention-loss"),
    docs="tinybert.md",
)
def other_numbers_of_heads():
    """Teacher and student differ in width, depth, heads or vocabulary. What then?

    Width: a projection. Depth: a mapping of layers. Heads: means of groups, or relation heads cut
    anew from q, k, v (MiniLMv2). Vocabulary: outputs of tokens no longer correspond; align by
    characters, or distil on classes, sentences or generated text.

    Is a mean of score maps a score map of the teacher? No head of it has that map; its softmax is
    the normalised geometric mean of the group's attentions."""
    rng = np.random.default_rng(11)
    keep = np.ones((2, 5), bool)
    student = models.ModelOutput(scores=(rng.normal(size=(2, 3, 5, 5)),))
    teacher = models.ModelOutput(scores=(None, rng.normal(size=(2, 6, 5, 5))))
    refused = ""
    try:
        AttentionScoresTerm(((1, 2),)).forward(student, teacher, keep)
    except InputError as error:
        refused = str(error)
    assert "num_heads" in refused
    value, _ = AttentionScoresTerm(((1, 2),), heads="group_mean").forward(student, teacher, keep)
    means = teacher.scores[1].reshape(2, 3, 2, 5, 5).mean(axis=2)
    assert np.isclose(value, ((student.scores[0] - means) ** 2).mean())
    q = rng.normal(size=(2, 5, 24))  # MiniLMv2: cut the width anew into as many relation heads
    cut = [q.reshape(2, 5, n, -1).transpose(0, 2, 1, 3) for n in (4, 6)]
    assert [(c @ c.swapaxes(2, 3)).shape[1] for c in cut] == [4, 6]


@card("bert-into-lstm", exercises=("soft-targets",), docs="tinybert.md")
def logits_suit_any_student():
    """How is BERT distilled into a BiLSTM or a text CNN?

    Through the logits alone, by squared error or soft targets: nothing inside corresponds. A small
    model overfits a small task, so most of the gain comes from much unlabelled or augmented text
    that the teacher labels.

    Why squared error of logits there, not KL? It also passes on how large the logits are; Tang et
    al. found it somewhat better. Try both."""
    rng = np.random.default_rng(12)
    bags, weights = rng.poisson(1.0, size=(60, 20)).astype(float), rng.normal(size=(20, 3))
    teacher = models.ModelOutput(logits=np.tanh(bags @ weights))  # whatever it is inside
    w, b, keep = np.zeros((20, 3)), np.zeros(3), np.ones((60, 1), bool)
    term, losses = LogitMseTerm(), []
    for _ in range(300):
        y, linear = ops.linear_forward(bags, w, b)  # the student: a bag of words
        loss, cache = term.forward(models.ModelOutput(logits=y), teacher, keep)
        dstudent, _ = term.backward(1.0, cache)
        assert (dstudent.hidden, dstudent.scores) == (None, None)
        _, dw, db = ops.linear_backward(dstudent.logits, linear)
        w, b = w - 0.05 * dw, b - 0.05 * db
        losses.append(loss)
    assert losses[-1] < losses[0] / 3


@card("self-mutual-multi-teacher", exercises=("kl-backward",), docs="interview.md")
def several_teachers():
    """Self-distillation, mutual and online distillation, several teachers: what are they?

    Self: teacher and student have one architecture, often generation after generation. Mutual:
    models learn from each other while both train, without a trained teacher (online). Several
    teachers: averaging their losses is the same gradient as one loss with the mean of their
    probabilities.

    Is the mean of the *logits* the same? No: that is a geometric mean of the probabilities, which a
    single dissenting teacher can pull to 0."""
    rng = np.random.default_rng(13)
    student, *teachers = rng.normal(size=(4, 6, 5)) * 2
    probs = np.mean([ops.softmax_forward(t)[0] for t in teachers], axis=0)

    def gradient(teacher):
        return ops.kl_backward(1.0, ops.kl_forward(student, teacher, 1.0)[1])

    mean_of_losses = np.mean([gradient(t) for t in teachers], axis=0)
    assert np.allclose(mean_of_losses, gradient(np.log(probs)))  # = loss with the mean of probs
    assert not np.allclose(mean_of_losses, gradient(np.mean(teachers, axis=0)), atol=1e-3)


@card("llm-distillation", exercises=("soft-targets",), docs="results.md")
def samples_stand_for_the_distribution():
    """Distilling a large language model: black box, sequence level, on-policy?

    Black box: only texts come out, so one trains on them. Sequence level: the student learns the
    teacher's outputs; on samples this is forward KL, estimated. On-policy: the student writes, the
    teacher judges its tokens, often by reverse KL; so the student is trained on its own mistakes.

    Beam search or samples of the teacher? Its best text is easier to learn and less varied: it is
    the mode, not the distribution."""
    rng = np.random.default_rng(14)
    teacher, student = rng.normal(size=(2, 1, 6))
    soft, _ = ops.soft_cross_entropy_forward(student, teacher, 1.0)
    p = ops.softmax_forward(teacher)[0][0]
    drawn = rng.choice(6, size=40000, p=p)  # what a black box writes
    hard, cache = ops.cross_entropy_forward(np.repeat(student, 40000, axis=0), drawn)
    assert abs(hard - soft) < 0.02
    sampled = ops.cross_entropy_backward(1.0, cache).sum(axis=0)
    exact = ops.softmax_forward(student)[0][0] - p
    assert np.abs(sampled - exact).max() < 0.01
    best = np.argmax(p)  # the most likely text only: another target
    greedy = ops.softmax_forward(student)[0][0] - np.eye(6)[best]
    assert np.abs(greedy - exact).max() > 0.1
