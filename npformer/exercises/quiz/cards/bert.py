"""BERT: its input, its pre-training, its relatives."""

import numpy as np

from npformer import layers, models, ops
from npformer.data.masking import mask_tokens
from npformer.data.tokenizer import SpecialIds
from npformer.exercises.quiz.card import Card
from npformer.exercises.text import Text
from npformer.models import cost

TOPIC = "bert"


def fifteen_and_eighty():
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


MLM = Card(
    id="masked-lm",
    topic=TOPIC,
    question=Text(
        "Masked language modelling: what do 15 % and 80/10/10 mean, and why not 100 % [MASK]?",
        "掩码语言模型：15% 和 80/10/10 是什么意思？为什么不全部换成 [MASK]？",
    ),
    answer=Text(
        "15 % of the tokens are to be predicted, and only these have a loss. Of them 80 % become "
        "[MASK], 10 % a random token, 10 % stay. [MASK] never occurs later; and a model that is "
        "asked about unchanged and wrong tokens too must keep a good state for every token.",
        "15% 的词元要被预测，只有它们有损失。其中 80% 换成 [MASK]，10% 换成随机词元，10% 不变。下游任务里没有 [MASK]；"
        "既然没变的和被换错的词元也可能被问到，模型就必须为每个词元都保持好的表示。",
    ),
    trap=Text(
        "Why not mask half the text? The more is hidden, the less context is left to guess from; "
        "the less, the fewer losses a text gives. 15 % was the compromise; later work takes up to "
        "40 %.",
        "为什么不掩掉一半？掩得多，可供推断的上下文就少；掩得少，每段文本的训练信号就少。15% 是折中，后来的工作用到 40%。",
    ),
    check=fifteen_and_eighty,
    exercises=("mlm-masking",),
    docs="deviations.md",
)


def hiding_a_key_hides_nothing():
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


WHY_MASK_TOKEN = Card(
    id="why-a-mask-token",
    topic=TOPIC,
    question=Text(
        "Why does BERT replace words by [MASK] instead of masking them in the attention scores?",
        "BERT 为什么用 [MASK] 替换单词，而不是在注意力分数里把它屏蔽掉？",
    ),
    answer=Text(
        "The word has to be predicted from the state at its own place, and that state begins as its "
        "embedding and is carried up by the residuals: a score mask hides it from the others, not "
        "from itself. [MASK] puts a neutral embedding there, and keeps the place as a query.",
        "要用该位置自己的状态来预测这个词，而这个状态始于它的词嵌入，并由残差一路带上去：分数掩码只让别人看不见它，"
        "它自己仍看得见自己。[MASK] 在那里放一个中性的嵌入，同时保留该位置作为 query。",
    ),
    trap=Text(
        "Would masking only the diagonal do? No: with two layers the word comes back through its "
        "neighbours, who have seen it.",
        "只屏蔽对角线行吗？不行：有两层时，邻居看过这个词，信息会经它们传回来。",
    ),
    check=hiding_a_key_hides_nothing,
    exercises=("mlm-masking", "padding-mask"),
    docs="derivations/attention.md",
)


def three_tables_one_norm():
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


BERT_INPUT = Card(
    id="bert-input",
    topic=TOPIC,
    question=Text(
        "What enters BERT's first layer, and what was the second pre-training task?",
        "输入 BERT 第一层的是什么？第二个预训练任务是什么？",
    ),
    answer=Text(
        "Token, position and segment embeddings added up, layer norm, dropout; the text is `[CLS] A "
        "[SEP] B [SEP]`. Next-sentence prediction: [CLS] says whether B followed A or came from "
        "elsewhere.",
        "词元、位置、段三种嵌入相加，再做层归一化和 dropout；文本形如 `[CLS] A [SEP] B [SEP]`。"
        "第二个任务是下一句预测：由 [CLS] 判断 B 是接在 A 后面还是取自别处。",
    ),
    trap=Text(
        "What became of NSP? RoBERTa drops it and loses nothing: a random B is told apart by its "
        "topic. ALBERT asks for the order of two neighbours instead.",
        "NSP 后来怎样了？RoBERTa 去掉它也没有损失：随机的 B 凭主题就能分辨。ALBERT 改为判断相邻两句的顺序。",
    ),
    check=three_tables_one_norm,
    exercises=("embedding-backward", "layer-norm"),
    docs="cost.md",
)


def the_head_reads_one_state():
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


CLS = Card(
    id="cls-and-pooler",
    topic=TOPIC,
    question=Text(
        "How does BERT classify a sentence, and why can one token stand for all?",
        "BERT 如何对句子分类？为什么一个词元能代表整句？",
    ),
    answer=Text(
        "The last state of [CLS] goes through the pooler, `tanh(h w + b)`, dropout and a linear "
        "layer. [CLS] has no meaning of its own; attention lets it gather from all tokens what the "
        "task needs, and the loss reaches every token through it.",
        "[CLS] 的最后一层状态经过 pooler `tanh(h w + b)`、dropout 和线性层。[CLS] 自身没有词义，"
        "注意力让它从所有词元收集任务所需的信息，损失也经由它传到每个词元。",
    ),
    trap=Text(
        "Is [CLS] a good sentence embedding without fine-tuning? Poor: only NSP ever trained it. "
        "The mean of the states does better; a model trained for it better still.",
        "不微调时 [CLS] 适合直接作句向量吗？不好：训练过它的只有 NSP。对各状态取平均更好，专门训练的模型更好。",
    ),
    check=the_head_reads_one_state,
    exercises=("pooler-backward",),
    docs="checkpoints.md",
)


def who_sees_the_end():
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
    both = [gpt.forward(i)[0] for i in (ids, other)]
    assert np.abs(both[0] - both[1])[0, :-1].max() == 0


BERT_GPT = Card(
    id="bert-gpt-elmo",
    topic=TOPIC,
    question=Text(
        "BERT, GPT, ELMo: how do they differ?",
        "BERT、GPT、ELMo 有什么区别？",
    ),
    answer=Text(
        "BERT: Transformer encoder, each layer sees both sides, trained to fill gaps; for "
        "understanding. GPT: decoder-only under a causal mask, trained on the next token; it "
        "generates. ELMo: two LSTMs, one each way, joined at the end, used as fixed features.",
        "BERT：Transformer 编码器，每层都看两侧，训练目标是填空，适合理解。GPT：带因果掩码的纯解码器（decoder-only），训练目标是预测下一个词元，能生成。"
        "ELMo：两个方向各一个 LSTM，最后才拼接，作为固定特征使用。",
    ),
    trap=Text(
        "Why can BERT not simply predict the next word? Its layers see both sides: the word would "
        "be visible, if not directly then through the layer below.",
        "BERT 为什么不能直接预测下一个词？它每层都看两侧：那个词不是直接可见，就是经下一层间接可见。",
    ),
    check=who_sees_the_end,
    exercises=("causal-mask",),
    docs="interview.md",
)


def longest_piece_first():
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


WORDPIECE = Card(
    id="wordpiece-and-bpe",
    topic=TOPIC,
    question=Text(
        "How does WordPiece split a word, and how does it differ from BPE?",
        "WordPiece 如何切分单词？与 BPE 有何不同？",
    ),
    answer=Text(
        "Greedily: the longest piece in the vocabulary that begins the word, then the longest that "
        "continues it (`##`); if nothing fits, the whole word is [UNK]. BPE instead replays its "
        "learned merges in order. In training BPE merges the most frequent pair, WordPiece the "
        "pair that raises the likelihood most.",
        "贪心：先取词表中能作开头的最长片段，再取能接续的最长片段（带 `##`）；接不下去时整个词成为 [UNK]。"
        "BPE 则按学到的顺序依次执行合并。训练时 BPE 合并频率最高的一对，WordPiece 合并最能提高似然的一对。",
    ),
    trap=Text(
        "Does greedy matching find a split whenever there is one? No: a long first piece can block "
        "the rest.",
        "只要存在切分方式，贪心就一定能找到吗？不能：开头取得太长，可能堵死后面的路。",
    ),
    check=longest_piece_first,
    exercises=("wordpiece",),
    docs="checkpoints.md",
)


def windows_over_a_long_text():
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


LONG_TEXT = Card(
    id="long-text",
    topic=TOPIC,
    question=Text(
        "How do you use BERT on a text of 4,000 tokens?",
        "如何用 BERT 处理 4000 个词元的文本？",
    ),
    answer=Text(
        "Cut it (head, tail, or both: often enough); windows of 512 with an overlap, whose logits or "
        "states are pooled; a second model over the windows' vectors; or a model made for it, "
        "with local attention or relative positions.",
        "截断（取头、取尾或头尾各取，常常就够）；用 512 的窗口加重叠滑动，再汇总各窗口的 logits 或状态；"
        "在窗口向量之上再加一个模型；或换用为长文本设计的模型（局部注意力、相对位置）。",
    ),
    trap=Text(
        "Why overlap? A token at a window's edge has context on one side only. And what do windows "
        "lose for good? Any relation that spans more than a window.",
        "为什么要重叠？窗口边缘的词元只有一侧上下文。窗口法永远丢失的是什么？跨度超过一个窗口的关系。",
    ),
    check=windows_over_a_long_text,
    exercises=("learned-positions-backward",),
    docs="performance.md",
)


def where_albert_saves():
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


RELATIVES = Card(
    id="roberta-albert-electra",
    topic=TOPIC,
    question=Text(
        "What did RoBERTa, ALBERT and ELECTRA change?",
        "RoBERTa、ALBERT、ELECTRA 各改了什么？",
    ),
    answer=Text(
        "RoBERTa: the same model, more data and steps, larger batches, masks drawn anew each time, no "
        "NSP. ALBERT: tables of width E = 128 and a map to D, one layer's weights for all layers, "
        "sentence order. ELECTRA: a small generator replaces words, the model says for every "
        "token whether it was replaced.",
        "RoBERTa：模型不变，用更多数据、更多步数和更大批次，每次重新采样掩码，去掉 NSP。"
        "ALBERT：嵌入表宽 E = 128 再映射到 D，所有层共享一层的权重，改用句序任务。"
        "ELECTRA：小生成器替换单词，模型判断每个词元是否被替换。",
    ),
    trap=Text(
        "Is ALBERT faster, with 12M parameters instead of 110M? No: it runs the shared layer twelve "
        "times. And why does ELECTRA learn faster? All tokens have a loss, not 15 %.",
        "ALBERT 参数从 110M 降到 12M，会更快吗？不会：共享的那层仍要跑 12 遍。ELECTRA 为何学得快？"
        "每个词元都有损失，而不只是 15%。",
    ),
    check=where_albert_saves,
    exercises=("mlm-masking", "tied-head-backward"),
    docs="cost.md",
)

CARDS = (
    MLM,
    WHY_MASK_TOKEN,
    BERT_INPUT,
    CLS,
    BERT_GPT,
    WORDPIECE,
    LONG_TEXT,
    RELATIVES,
)
