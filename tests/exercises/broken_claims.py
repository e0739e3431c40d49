"""Wrong versions of what the quiz's cards claim: in each proof one place is made wrong.

By the card's id: what is replaced, and by what. A proof that still holds then proves nothing.
"""

BROKEN = {
    # attention
    "transformer-idea": ("dlast[:, -1] = rng.normal(size=12)", "dlast[:, -1] = 0"),
    "multi-head-steps": ("np.sqrt(4)", "np.sqrt(12)"),
    "scaled-dot-product": ("axis=-1, keepdims=True", "axis=-2, keepdims=True"),
    "why-sqrt-d": ("raw.var() / size", "raw.var() / np.sqrt(size)"),
    "separate-q-and-k": ("(x @ w_q) @ (x @ w_k).T", "(x @ w_q) @ (x @ w_q).T"),
    "dot-or-additive": ("np.tanh(", "np.abs("),
    "output-projection": ("slice(4 * head, 4 * head + 4)", "slice(4 * head, 4 * head + 3)"),
    "head-size": (
        "np.linalg.matrix_rank(w_q @ w_k.T) == 8",
        "np.linalg.matrix_rank(w_q @ w_k.T) == 64",
    ),
    "softmax-not-sigmoid": ("ops.sigmoid_forward(s)", "ops.softmax_forward(s)"),
    "attention-or-dense": ("layer.forward(2 * x)[0].y", "2 * layer.forward(x)[0].y"),
    "permutation": (
        "layer.forward(x[:, order])[0].y, y[:, order]",
        "layer.forward(x[:, order])[0].y, y",
    ),
    # masks
    "padding-mask": (
        "ops.attention_forward(q, other_k, other_v, keep)",
        "ops.attention_forward(q, other_k, other_v)",
    ),
    "fully-masked-row": (
        "ops.masked_softmax_forward(scores, keep)",
        "ops.masked_softmax_forward(scores)",
    ),
    "causal-mask": ("logits[:, length - 1]", "logits[:, length]"),
    "cross-attention": ("(2, 3, 4, 7)", "(2, 3, 7, 4)"),
    "target-attention": ("attention_forward(-candidate,", "attention_forward(candidate,"),
    # efficiency
    "attention-cost": ("parts(6 * 64)", "parts(5 * 64)"),
    "mqa-and-gqa": ("np.repeat(heads, 3, axis=1)", "np.tile(heads, (1, 3, 1))"),
    "kv-cache": ("2 * 2 * 2 * 7 * 12", "2 * 2 * 7 * 12"),
    "flash-attention": ("mixed * shrink", "mixed"),
    # positions
    "position-encodings": ('"none", "relative": "rotary"', '"learned", "relative": "rotary"'),
    "sinusoidal": ("[-np.sin(angle), np.cos(angle)]", "[np.sin(angle), np.cos(angle)]"),
    "learned-positions": ("[True] * 5 + [False] * 3", "[True] * 8"),
    "relative-bias": ("np.array([-3, 3, 50,", "np.array([3, 3, 50,"),
    "rotary": ("turned_k, _ = ops.rotary_forward(k, places)", "turned_k = k"),
    "alibi": ("* np.arange(6)  # m s", "* np.arange(6) ** 2  # m s"),
    "extrapolation": ("new.sum() == 13", "new.sum() == 0"),
    "add-not-concatenate": ("for a in (x, p) for b in (x, p)", "for a in (x, p) for b in (x,)"),
    "embedding-scale": ("table.std() * 16", "table.std() * 256"),
    # blocks
    "layer-or-batch-norm": (
        "batch_norm(padded)[:, :6] - batch_norm(x)",
        "batch_norm(x)[:, :6] - batch_norm(x)",
    ),
    "pre-or-post-ln": ('("w_o", "w_2")', '"w_o"'),
    "rms-norm": ("x - x.mean(axis=-1, keepdims=True)", "x - x.mean()"),
    "residual-gradient": ("dx + dx_f if residual else dx_f", "dx_f"),
    "feed-forward": ("2 / 3", "1 / 2"),
    "activations": ("d_ff=384", "d_ff=256"),
    "dropout": ("y.mean() / x.mean()", "y.mean() * 0.7 / x.mean()"),
    # backprop
    "where-the-transpose-comes-from": ("x.reshape(-1, 5).T @ dy.reshape(-1, 6)", "x[0].T @ dy[0]"),
    "broadcast-gradient": (
        "dscores.sum(axis=axes, keepdims=True))",
        "dscores.mean(axis=axes, keepdims=True))",
    ),
    "sigmoid-and-tanh": ("y * (1 - y)", "y * (1 - y) ** 2"),
    "softmax-jacobian": ("np.outer(probs, probs)", "np.diag(probs * probs)"),
    "log-softmax": ("np.exp(log_probs) * dlog.sum()", "np.exp(log_probs) * dlog"),
    "cross-entropy-gradient": ("expected / 4)", "expected / 5)"),
    "label-smoothing": ("alpha / 4", "alpha / 3"),
    "layer-norm-backward": ("dxhat = dy * gamma", "dxhat = dy"),
    "embedding-scatter": ("wrong[ids] += dy", "np.add.at(wrong, ids, dy)"),
    "tied-weights": ('head[name] + below["embeddings.token"]', "head[name]"),
    "attention-backward": ("dq = c * dscores @ k", "dq = dscores @ k"),
    "key-bias": ("layers.AttentionOutput(dy, None)", "layers.AttentionOutput(dy, dscores)"),
    "gradient-check": ("/ (2 * h)", "/ h"),
    "blind-gradient-checks": ("rng.normal(size=6), beta])", "np.ones(6), beta])"),
    # bert
    "masked-lm": ("hidden.mean() - 0.8", "hidden.mean() - 1.0"),
    "why-a-mask-token": ("model.forward(i, keep)", "model.forward(i)"),
    "bert-input": ('+ p["segment"][segments]', ""),
    "cls-and-pooler": ("hidden[-1][:, 0]", "hidden[-1].mean(axis=1)"),
    "bert-gpt-elmo": ("gpt.forward(i)[0].logits for i", "bert.forward(i)[0].hidden[-1] for i"),
    "wordpiece-and-bpe": ("range(len(word), start, -1)", "range(start + 1, len(word) + 1)"),
    "long-text": ("stride = 4000, 512, 384", "stride = 4000, 512, 600"),
    "roberta-albert-electra": ("* 11 // 12", "* 0"),
    # optimization
    "momentum": ("momentum=0.9", "momentum=0.0"),
    "adam-bias-correction": ("optimizer = optim.Adam()", "optimizer = optim.BertAdam()"),
    "adamw-or-l2": ('("l2", optim.Adam)', '("l2", optim.AdamW)'),
    "warmup": ("optimizer = optim.Adam()", "optimizer = optim.BertAdam()"),
    "no-decay-groups": ('"b": np.ones(3)', '"b": np.ones((1, 3))'),
    "gradient-clipping": (
        "optim.clip_by_global_norm(grads, 1.0)",
        "optim.clip_by_tensor_norm(grads, 1.0)['a']",
    ),
    "gradient-accumulation": (", count=count)", ")"),
    # distillation
    "what-is-distillation": ("[[6.0, 4.0, -1.0, -1.0]]", "[[6.0, -1.0, -1.0, -1.0]]"),
    "temperature": ("** (1 / 4)", "** 4"),
    "tau-squared": ("(scaled, True)", "(scaled, False)"),
    "high-temperature-limit": ("tau_squared=True", "tau_squared=False"),
    "kl-or-cross-entropy": ("-(p * np.log(p)).sum() / 6", "-(p * np.log(p)).sum()"),
    "kl-direction": ("= forward, reverse", "= reverse, forward"),
    "batchmean": ("right / wrong, 5)", "right / wrong, 1)"),
    "hard-label-weight": (
        "(1 - alpha) * ops.softmax_forward(teacher)",
        "alpha * ops.softmax_forward(teacher)",
    ),
    "teacher-in-eval-mode": ("dropout=0.1", "dropout=0.0"),
    "capacity-gap": ("factor * logits", "logits"),
    "response-feature-relation": (
        "wide = rng.normal(size=(1, 5, 8)), rng.normal(size=(1, 5, 12))",
        "wide = rng.normal(size=(1, 5, 8)), rng.normal(size=(1, 5, 8))",
    ),
    "different-shapes": (
        "reshape(2, 3, 2, 5, 5).mean(axis=2)",
        "reshape(2, 2, 3, 5, 5).mean(axis=1)",
    ),
    "bert-into-lstm": ("w - 0.05 * dw", "w + 0.05 * dw"),
    "self-mutual-multi-teacher": ("gradient(np.log(probs))", "gradient(probs)"),
    "llm-distillation": ("p=p)", "p=None)"),
    # tinybert
    "tinybert-steps": ('{"prediction"}', '{"prediction", "hard_label"}'),
    "four-losses": ("([1, 2], [], ", "([0, 1, 2], [], "),
    "scores-before-softmax": ("ops.mse_forward(shifted, scores)", "ops.mse_forward(*probs)"),
    "projection": ("knows @ turn)", "knows)"),
    "layer-mapping": ("i * 3 + 2", "i * 3"),
    "padding-in-the-attention-loss": (
        "mask_queries=False, divide_by_area=True",
        "mask_queries=True",
    ),
    "what-each-part-is-worth": ('"attention+hidden"', '"attention"'),
    "tinybert-and-others": ("2 * cosine", "cosine"),
    # compression
    "parameters-flops-latency": ("sizes[0] + fit", "sizes[0]"),
    "quantization": ("symmetric(w, axis=0)", "symmetric(w)"),
    "straight-through": ("w - 0.05 * dw", "w - 0.0 * dw"),
    "pruning": ("np.quantile(np.abs(w), 0.9)", "np.quantile(np.abs(w), 0.5)"),
    "low-rank": ("s[rank:] ** 2", "s[rank:]"),
    "order-of-compression": ("optimizer.init(p), 1e-4", "optimizer.init(p), 1e-1"),
}
