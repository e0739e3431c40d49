"""BERT: its input, its pre-training, its relatives."""

import numpy as np

from npformer import layers, models, ops
from npformer.data.masking import mask_tokens
from npformer.data.tokenizer import SpecialIds
from npformer.exercises.quiz.card import card
from npformer.models import cost


@card("masked-lm", exercises=("mlm-masking",), docs="deviations.md")
def fifteen_and_eighty():
    """Masked language modelling: what do 15 % and 80/10/10 mean, and why not 100 % [MASK]?

    15 % of the tokens are to be predicted, and only these have a loss. Of them 80 % become [MASK],
    10 % a random token, 10 % stay. [MASK] never occurs later; and a model that is asked about
    unchanged and wrong tokens too must keep a good state for every token.

    Why not mask half the text? The more is hidden, the less context is left to guess from; the
    less, the fewer losses a text gives. 15 % was the compromise; later work takes up to 40 %."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 1000, size=(400, 100))
    ids[:, 0] = 2  # [CLS]
    keep = np.ones(ids.shape, bool)
    keep[:, 80:] = False  # padding
    special = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
    masked, labels = mask_tokens(ids, keep, special, rng, vocab_size=1000)
    chosen = labels != -100
    assert abs(chosen[:, 1:80].mean() - 0.15) < 0.01
    assert not chosen[:, 0].any()  # never a special token
    assert not chosen[:, 80:].any()  # never padding
    hidden = masked[chosen] == 4
    same = masked[chosen] == ids[chosen]
    assert abs(hidden.mean() - 0.8) < 0.02
    assert abs(same.mean() - 0.1) < 0.02
    assert abs((~hidden & ~same).mean() - 0.1) < 0.02
    assert np.array_equal(labels[chosen], ids[chosen])  # the target is the original
    assert np.array_equal(masked[~chosen], ids[~chosen])


@card(
    "why-a-mask-token", exercises=("mlm-masking", "padding-mask"), docs="derivations/attention.md"
)
def hiding_a_key_hides_nothing():
    """Why does BERT replace words by [MASK] instead of masking them in the attention scores?

    The word has to be predicted from the state at its own place, and that state begins as its
    embedding and is carried up by the residuals: a score mask hides it from the others, not from
    itself. [MASK] puts a neutral embedding there, and keeps the place as a query.

    Would masking only the diagonal do? No: with two layers the word comes back through its
    neighbours, who have seen it."""
    rng = np.random.default_rng(1)
    config = models.EncoderConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=30, max_len=6,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.Encoder.init(config, rng, np.float64)
    ids = np.array([[2, 11, 12, 13, 3]])
    other = ids.copy()
    other[0, 2] = 17
    keep = np.array([[1, 1, 0, 1, 1]], bool)  # nobody may attend to the hidden word
    states = [model.forward(i, keep)[0].hidden[-1] for i in (ids, other)]
    change = np.abs(states[0] - states[1]).max(axis=-1)[0]
    assert change[[0, 1, 3, 4]].max() == 0  # the others do not see it
    assert change[2] > 0.1  # but it sees itself, through the residual


@card("bert-input", exercises=("embedding-backward", "layer-norm"), docs="cost.md")
def three_tables_one_norm():
    """What enters BERT's first layer, and what was the second pre-training task?

    Token, position and segment embeddings added up, layer norm, dropout; the text is
    `[CLS] A [SEP] B [SEP]`. Next-sentence prediction: [CLS] says whether B followed A or came from
    elsewhere.

    What became of NSP? RoBERTa drops it and loses nothing: a random B is told apart by its topic.
    ALBERT asks for the order of two neighbours instead."""
    rng = np.random.default_rng(2)
    config = layers.EmbeddingsConfig(d_model=8, vocab_size=20, max_len=6, positions="learned")
    embeddings = layers.Embeddings.init(config, rng, np.float64)
    p = embeddings.params
    ids, segments = rng.integers(0, 20, size=(2, 5)), np.array([[0, 0, 0, 1, 1]] * 2)
    y, _ = embeddings.forward(ids, segments)
    total = p["token"][ids] + p["position"][:5] + p["segment"][segments]
    expected, _ = ops.layernorm_forward(total, p["gamma"], p["beta"])
    assert np.allclose(y, expected)
    work = cost.Workload(kind=models.Encoder, config=models.preset("bert-base"))
    counts = cost.count_parameters(work)
    tables = [counts[f"embeddings: {name}"] for name in ("token", "position", "segment")]
    assert tables == [30522 * 768, 512 * 768, 2 * 768]


@card("cls-and-pooler", exercises=("pooler-backward",), docs="checkpoints.md")
def the_head_reads_one_state():
    """How does BERT classify a sentence, and why can one token stand for all?

    The last state of [CLS] goes through the pooler, `tanh(h w + b)`, dropout and a linear layer.
    [CLS] has no meaning of its own; attention lets it gather from all tokens what the task needs,
    and the loss reaches every token through it.

    Is [CLS] a good sentence embedding without fine-tuning? Poor: only NSP ever trained it. The mean
    of the states does better; a model trained for it better still."""
    rng = np.random.default_rng(3)
    config = models.ClassifierConfig(
        d_model=12, num_heads=3, num_layers=2, d_ff=20, vocab_size=30, max_len=6, num_classes=4,
        initializer_range=0.5,
    )  # fmt: skip
    model = models.SequenceClassifier.init(config, rng, np.float64)
    ids = rng.integers(0, 30, size=(2, 5))
    output, cache = model.forward(ids)
    p, first = model.params, output.hidden[-1][:, 0]
    pooled = np.tanh(first @ p["pooler.w"] + p["pooler.b"])
    assert np.allclose(output.logits, pooled @ p["classifier.w"] + p["classifier.b"])
    dlogits = rng.normal(size=output.logits.shape)
    _, grads = model.backward(models.ModelOutput(logits=dlogits), cache)
    rows = np.abs(grads["encoder.embeddings.token"]).sum(axis=1)
    assert rows[np.unique(ids)].min() > 0  # and yet every word learns, through attention


@card("bert-gpt-elmo", exercises=("causal-mask",), docs="interview.md")
def who_sees_the_end():
    """BERT, GPT, ELMo: how do they differ?

    BERT: Transformer encoder, each layer sees both sides, trained to fill gaps; for understanding.
    GPT: decoder-only under a causal mask, trained on the next token; it generates. ELMo: two LSTMs,
    one each way, joined at the end, used as fixed features.

    Why can BERT not simply predict the next word? Its layers see both sides: the word would be
    visible, if not directly then through the layer below."""
    rng = np.random.default_rng(4)
    sizes = {
        "d_model": 12, "num_heads": 3, "num_layers": 2, "d_ff": 20, "vocab_size": 30,
        "max_len": 6, "initializer_range": 0.5,
    }  # fmt: skip
    bert = models.Encoder.init(models.EncoderConfig(**sizes), rng, np.float64)
    gpt = models.CausalLM.init(models.CausalLMConfig(**sizes), rng, np.float64)
    ids = rng.integers(0, 29, size=(1, 5))
    other = ids.copy()
    other[0, -1] += 1
    both = [bert.forward(i)[0].hidden[-1] for i in (ids, other)]
    assert np.abs(both[0] - both[1])[0, 0].max() > 0.01
    both = [gpt.forward(i)[0].logits for i in (ids, other)]
    assert np.abs(both[0] - both[1])[0, :-1].max() == 0


@card("wordpiece-and-bpe", exercises=("wordpiece",), docs="checkpoints.md")
def longest_piece_first():
    """How does WordPiece split a word, and how does it differ from BPE?

    Greedily: the longest piece in the vocabulary that begins the word, then the longest that
    continues it (`##`); if nothing fits, the whole word is [UNK]. BPE instead replays its learned
    merges in order. In training BPE merges the most frequent pair, WordPiece the pair that raises
    the likelihood most.

    Does greedy matching find a split whenever there is one? No: a long first piece can block the
    rest."""
    vocab = {"un", "##aff", "##able", "##a", "##b", "play", "##ing", "##in", "##g"}

    def pieces(word):
        found, start = [], 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in vocab:
                    break
            else:
                return ["[UNK]"]  # the whole word
            found.append(piece)
            start = end
        return found

    assert pieces("unaffable") == ["un", "##aff", "##able"]
    assert pieces("playing") == ["play", "##ing"]  # not "##in", "##g"
    assert pieces("playx") == ["[UNK]"]
    assert pieces("unable") == ["un", "##able"]
    vocab.add("##ab")  # greedy may miss a way that exists
    vocab.discard("##able")
    vocab.add("##ble")
    assert pieces("unable") == ["[UNK]"]
    assert {"un", "##a", "##ble"} <= vocab


@card("long-text", exercises=("learned-positions-backward",), docs="performance.md")
def windows_over_a_long_text():
    """How do you use BERT on a text of 4,000 tokens?

    Cut it (head, tail, or both: often enough); windows of 512 with an overlap, whose logits or
    states are pooled; a second model over the windows' vectors; or a model made for it, with local
    attention or relative positions.

    Why overlap? A token at a window's edge has context on one side only. And what do windows lose
    for good? Any relation that spans more than a window."""
    tokens, window, stride = 4000, 512, 384
    starts = range(0, tokens - window + stride, stride)
    seen = np.zeros(tokens, int)
    for start in starts:
        seen[start : start + window] += 1
    assert seen.min() == 1  # every token is in a window
    assert np.mean(seen == 2) > 0.25  # and many have context on both sides in one of two

    def products(length, batch):
        config = models.preset("bert-base", max_len=tokens)
        work = cost.Workload(kind=models.Encoder, config=config, seq_len=length, batch_size=batch)
        return cost.count_multiply_adds(work)["layers: scores and mix"]

    whole, cut = products(tokens, 1), products(window, len(starts))
    assert 5 < whole / cut < 7  # linear in the length instead of its square


@card("roberta-albert-electra", exercises=("mlm-masking", "tied-head-backward"), docs="cost.md")
def where_albert_saves():
    """What did RoBERTa, ALBERT and ELECTRA change?

    RoBERTa: the same model, more data and steps, larger batches, masks drawn anew each time, no
    NSP. ALBERT: tables of width E = 128 and a map to D, one layer's weights for all layers,
    sentence order. ELECTRA: a small generator replaces words, the model says for every token
    whether it was replaced.

    Is ALBERT faster, with 12M parameters instead of 110M? No: it runs the shared layer twelve
    times. And why does ELECTRA learn faster? All tokens have a loss, not 15 %."""
    sizes = {
        "d_model": 768, "num_heads": 12, "num_layers": 12, "d_ff": 3072, "vocab_size": 30000,
        "max_len": 512,
    }  # fmt: skip
    full, narrow = (
        cost.Workload(
            kind=models.Encoder, config=models.EncoderConfig(embedding_size=e, **sizes), pooler=True
        )
        for e in (None, 128)
    )
    layers_of, count = cost.of_layers, cost.count_parameters
    shared = sum(count(narrow).values()) - layers_of(count(narrow)) * 11 // 12
    assert 11.6e6 < shared < 11.8e6  # ALBERT-base, 12 layers with the weights of one
    assert sum(count(full).values()) > 9 * shared
    assert cost.layer_flops(narrow) == cost.layer_flops(full)  # and not one operation less
