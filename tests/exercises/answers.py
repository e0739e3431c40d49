"""A right answer to each exercise, by another hand: plain NumPy, nothing of npformer.

They stand for what learners write. Each one is complete by itself, as in a learner's file.
"""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from npformer.exercises.exercise import HEADER, Exercise
from npformer.exercises.task import FIND_THE_BUG, find


def answer(exercise: Exercise) -> Callable[..., Any]:
    """Return the function that answers it."""
    return globals()[exercise.function]


def solved(task_id: str) -> str:
    """Return a learner's file that passes; for a bug to find, the museum's own test."""
    task = find(task_id)
    if task.chapter == FIND_THE_BUG:
        return task.solution()
    return f"import math\n\n{HEADER}\n\n{inspect.getsource(globals()[task.function])}"


# Calculus


def linear_backward(dy, x, w):
    rows, drows = x.reshape(-1, w.shape[0]), dy.reshape(-1, w.shape[1])
    return dy @ w.T, rows.T @ drows, drows.sum(axis=0)


def broadcast_bias_backward(dy, bias):
    dbias = dy.sum(axis=tuple(range(dy.ndim - bias.ndim)))
    stretched = tuple(axis for axis, size in enumerate(bias.shape) if size == 1)
    return dbias.sum(axis=stretched, keepdims=True)


def relu_backward(dy, x):
    return np.where(x > 0, dy, 0)


def sigmoid_backward(dy, y):
    return dy * y * (1 - y)


def tanh_backward(dy, y):
    return dy * (1 - y * y)


def gelu_backward(dy, x, cdf):
    density = np.exp(-x * x / 2) / (2 * math.pi) ** 0.5
    return dy * (cdf + x * density)


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def softmax_backward(dprobs, probs):
    weighted = dprobs * probs
    return weighted - probs * weighted.sum(axis=-1, keepdims=True)


def log_softmax_backward(dlog_probs, log_probs):
    all_of_row = dlog_probs.sum(axis=-1, keepdims=True)
    return dlog_probs - np.exp(log_probs) * all_of_row


def cross_entropy(logits, labels):
    kept = labels != -100
    n = max(int(kept.sum()), 1)
    low = logits - logits.max(axis=-1, keepdims=True)
    log_p = low - np.log(np.exp(low).sum(axis=-1, keepdims=True))
    hit = np.arange(logits.shape[-1]) == labels[..., None]
    return -log_p[hit].sum() / n, (np.exp(log_p) - hit) * kept[..., None] / n


def label_smoothing(logits, labels, alpha):
    num_classes = logits.shape[-1]
    low = logits - logits.max(axis=-1, keepdims=True)
    log_p = low - np.log(np.exp(low).sum(axis=-1, keepdims=True))
    hit = np.arange(num_classes) == labels[..., None]
    wanted = ((1 - alpha) * hit + alpha / num_classes).astype(logits.dtype)
    return -(wanted * log_p).sum() / labels.size, (np.exp(log_p) - wanted) / labels.size


def layer_norm(x, gamma, beta, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = (centred**2).mean(axis=-1, keepdims=True)
    return gamma * centred / np.sqrt(spread + eps) + beta


def layer_norm_backward(dy, xhat, rstd, gamma):
    g = dy * gamma
    along = (g * xhat).mean(axis=-1, keepdims=True)
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * along)
    rows = tuple(range(dy.ndim - 1))
    return dx, (dy * xhat).sum(axis=rows), dy.sum(axis=rows)


def rms_norm_backward(dy, xhat, rrms, gamma):
    g = dy * gamma
    dx = rrms * (g - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    return dx, (dy * xhat).reshape(-1, dy.shape[-1]).sum(axis=0)


def dropout_backward(dy, keep, p_drop):
    return np.where(keep, dy / (1 - p_drop), 0)


def embedding_backward(dy, ids, table):
    dtable = np.zeros_like(table)
    for row, drow in zip(ids.reshape(-1), dy.reshape(-1, dy.shape[-1]), strict=True):
        dtable[row] += drow
    return dtable


def residual_backward(dy, x, w, h):
    inside = dy * (1 - h * h)
    dim = x.shape[-1]
    return dy + inside @ w.T, x.reshape(-1, dim).T @ inside.reshape(-1, dim)


# Attention


def scaled_dot_product(q, k, v):
    a = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    return probs @ v, probs


def padding_mask(q, k, v, keep):
    a = q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5
    a = np.where(keep[:, None, None, :], a, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    return probs @ v, probs


def causal_attention(q, k, v):
    t, s = q.shape[2], k.shape[2]
    past = np.arange(s) <= np.arange(s - t, s)[:, None]
    a = np.where(past, q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    probs = e / e.sum(axis=-1, keepdims=True)
    return probs @ v, probs


def masked_softmax(scores, keep):
    a = np.where(keep, scores, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True)) * keep
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def attention_backward(dctx, q, k, v, keep, r):
    root = q.shape[-1] ** 0.5
    a = np.where(keep, q @ k.swapaxes(-1, -2) / root, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True)) * keep
    total = e.sum(axis=-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    dp = r * (dctx @ v.swapaxes(-1, -2))
    da = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) / root
    return da @ k, da.swapaxes(-1, -2) @ q, (p * r).swapaxes(-1, -2) @ dctx


def scores_gradient(dctx, dscores, q, k, v, keep):
    root = q.shape[-1] ** 0.5
    may = keep[:, None, None, :]
    a = np.where(may, q @ k.swapaxes(-1, -2) / root, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True)) * may
    total = e.sum(axis=-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    dp = dctx @ v.swapaxes(-1, -2)
    da = (dscores + p * (dp - (dp * p).sum(axis=-1, keepdims=True))) / root
    return da @ k, da.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ dctx


def split_and_merge(x, ctx, num_heads):
    heads = x.reshape(*x.shape[:2], num_heads, -1).swapaxes(1, 2)
    b, h, t, k = ctx.shape
    return heads, ctx.swapaxes(1, 2).reshape(b, t, h * k)


def multi_head_backward(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    b, t, d = x.shape
    root = (d // num_heads) ** 0.5
    may = keep[:, None, None, :]

    def split(a):
        return a.reshape(b, t, num_heads, -1).swapaxes(1, 2)

    def merge(a):
        return a.swapaxes(1, 2).reshape(b, t, d)

    def weights(a, da):
        return a.reshape(-1, d).T @ da.reshape(-1, d), da.sum(axis=(0, 1))

    q, k, v = split(x @ w_q + b_q), split(x @ w_k + b_k), split(x @ w_v + b_v)
    a = np.where(may, q @ k.swapaxes(-1, -2) / root, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True)) * may
    total = e.sum(axis=-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    ctx = merge(p @ v)

    dctx = split(dy @ w_o.T)
    dp = dctx @ v.swapaxes(-1, -2)
    da = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) / root
    dq, dk = merge(da @ k), merge(da.swapaxes(-1, -2) @ q)
    dv = merge(p.swapaxes(-1, -2) @ dctx)
    dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T
    return dx, *weights(x, dq), *weights(x, dk), *weights(x, dv), *weights(ctx, dy)


def cross_attention(x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    b, t, d = x.shape

    def split(a):
        return a.reshape(b, -1, num_heads, d // num_heads).swapaxes(1, 2)

    q, k, v = split(x @ w_q + b_q), split(memory @ w_k + b_k), split(memory @ w_v + b_v)
    may = keep[:, None, None, :]
    a = np.where(may, q @ k.swapaxes(-1, -2) / q.shape[-1] ** 0.5, -1e30)
    e = np.exp(a - a.max(axis=-1, keepdims=True)) * may
    total = e.sum(axis=-1, keepdims=True)
    p = e / np.where(total == 0, 1, total)
    return (p @ v).swapaxes(1, 2).reshape(b, t, d) @ w_o + b_o


def kv_cache_step(x, past_k, past_v, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o):
    b, h, _, size = past_k.shape
    q = (x @ w_q + b_q).reshape(b, h, 1, size)
    k = np.append(past_k, (x @ w_k + b_k).reshape(b, h, 1, size), axis=2)
    v = np.append(past_v, (x @ w_v + b_v).reshape(b, h, 1, size), axis=2)
    a = q @ k.swapaxes(-1, -2) / size**0.5
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    ctx = e / e.sum(axis=-1, keepdims=True) @ v
    return ctx.reshape(b, 1, h * size) @ w_o + b_o, k, v


def online_attention(q, k, v, block):
    top = np.full((*q.shape[:3], 1), -np.inf, q.dtype)
    total, mixed = np.zeros_like(top), np.zeros_like(q)
    for i in range(0, k.shape[2], block):
        a = q @ k[:, :, i : i + block].swapaxes(-1, -2) / q.shape[-1] ** 0.5
        higher = np.maximum(top, a.max(axis=-1, keepdims=True))
        e, shrink = np.exp(a - higher), np.exp(top - higher)
        total = total * shrink + e.sum(axis=-1, keepdims=True)
        mixed = mixed * shrink + e @ v[:, :, i : i + block]
        top = higher
    return mixed / total, top + np.log(total)


# Positions


def sinusoidal(length, d_model):
    even = np.arange(0, d_model, 2)
    turns = np.arange(length)[:, None] * 10000 ** (-even / d_model)
    table = np.zeros((length, d_model))
    table[:, 0::2] = np.sin(turns)
    table[:, 1::2] = np.cos(turns)[:, : d_model // 2]
    return table


def learned_positions_backward(dy, table):
    unread = len(table) - dy.shape[1]
    return dy.copy(), np.pad(dy.sum(axis=0), ((0, unread), (0, 0)))


def relative_bias_backward(dscores, bucket, num_buckets):
    summed = dscores.sum(axis=0)
    rows = [summed[:, bucket == row].sum(axis=-1) for row in range(num_buckets)]
    return np.stack(rows)


def rotary(x, positions):
    half = x.shape[-1] // 2
    turns = positions[:, None] * 10000 ** (-np.arange(half) / half)
    cos, sin = np.cos(turns).astype(x.dtype), np.sin(turns).astype(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return np.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)


def rotary_backward(dy, positions):
    half = dy.shape[-1] // 2
    turns = positions[:, None] * 10000 ** (-np.arange(half) / half)
    cos, sin = np.cos(turns).astype(dy.dtype), np.sin(turns).astype(dy.dtype)
    da, db = dy[..., :half], dy[..., half:]
    return np.concatenate((da * cos + db * sin, db * cos - da * sin), axis=-1)


def alibi(num_heads, query_len, key_len):
    power = 1
    while 2 * power <= num_heads:
        power *= 2
    slopes = [2.0 ** (-8 * i / power) for i in range(1, power + 1)]
    between = [2.0 ** (-4 * i / power) for i in range(1, 2 * power, 2)]
    slopes = np.array((slopes + between)[:num_heads])
    back = np.arange(key_len - query_len, key_len)[:, None] - np.arange(key_len)
    return slopes, -(slopes[:, None, None] * back)[None]


# Encoder


def feed_forward_backward(dy, x, w_1, b_1, w_2):
    h = x @ w_1 + b_1
    cdf = (0.5 + 0.5 * np.vectorize(math.erf)(h / 2**0.5)).astype(x.dtype)
    slope = cdf + h * np.exp(-h * h / 2) / (2 * math.pi) ** 0.5
    dh = (dy @ w_2.T) * slope
    d, f = w_1.shape
    rows, drows, dys = x.reshape(-1, d), dh.reshape(-1, f), dy.reshape(-1, d)
    dw_2 = (h * cdf).reshape(-1, f).T @ dys
    return dh @ w_1.T, rows.T @ drows, drows.sum(axis=0), dw_2, dys.sum(axis=0)


def post_ln_backward(dy, x, w, b, gamma, eps):
    u = x + x @ w + b
    root = np.sqrt(u.var(axis=-1, keepdims=True) + eps)
    unit = (u - u.mean(axis=-1, keepdims=True)) / root
    g = dy * gamma
    along = (g * unit).mean(axis=-1, keepdims=True)
    du = (g - g.mean(axis=-1, keepdims=True) - unit * along) / root
    d = x.shape[-1]
    dw = x.reshape(-1, d).T @ du.reshape(-1, d)
    return du + du @ w.T, dw, du.sum(axis=(0, 1)), (dy * unit).sum(axis=(0, 1)), dy.sum(axis=(0, 1))


def pre_ln_backward(dy, x, w, gamma, beta, eps):
    root = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    unit = (x - x.mean(axis=-1, keepdims=True)) / root
    dn = dy @ w.T
    g = dn * gamma
    along = (g * unit).mean(axis=-1, keepdims=True)
    dx = dy + (g - g.mean(axis=-1, keepdims=True) - unit * along) / root
    d = x.shape[-1]
    dw = (unit * gamma + beta).reshape(-1, d).T @ dy.reshape(-1, d)
    return dx, dw, dy.sum(axis=(0, 1)), (dn * unit).sum(axis=(0, 1)), dn.sum(axis=(0, 1))


def pooler_backward(dpooled, hidden, w, b):
    first = hidden[:, 0]
    dz = dpooled * (1 - np.tanh(first @ w + b) ** 2)
    dhidden = np.zeros_like(hidden)
    dhidden[:, 0] = dz @ w.T
    return dhidden, first.T @ dz, dz.sum(axis=0)


def tied_head_backward(dlogits, dembedded, states, ids, table):
    dtable = np.tensordot(dlogits, states, axes=((0, 1), (0, 1)))
    np.add.at(dtable, ids, dembedded)
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


def mlm_masking(ids, keep, special, vocab_size, p_mask, rng):
    chosen = keep & ~np.isin(ids, special) & (rng.random(ids.shape) < p_mask)
    how = rng.random(ids.shape)
    words = np.setdiff1d(np.arange(vocab_size), special)
    other = words[rng.integers(len(words), size=ids.shape)]
    new = np.where(how < 0.8, special[4], np.where(how < 0.9, ids, other))
    return np.where(chosen, new, ids), np.where(chosen, ids, -100)


def wordpiece(words, vocab):
    pieces = []
    for word in words:
        found, rest = [], word
        while rest and len(word) <= 100:
            mark = "##" if found else ""
            fits = [n for n in range(1, len(rest) + 1) if mark + rest[:n] in vocab]
            if not fits:
                break
            found.append(mark + rest[: fits[-1]])
            rest = rest[fits[-1] :]
        pieces += ["[UNK]"] if rest else found
    return pieces


# Optimization


def sgd_momentum(param, grad, velocity, lr, momentum):
    faster = momentum * velocity + grad
    return param - lr * faster, faster


def adam(param, grad, m, v, step, lr, beta_1, beta_2, eps):
    m = m + (1 - beta_1) * (grad - m)
    v = v + (1 - beta_2) * (grad**2 - v)
    root = np.sqrt(v / (1 - beta_2**step))
    return param - lr / (1 - beta_1**step) * m / (root + eps), m, v


def adamw(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    m = m + (1 - beta_1) * (grad - m)
    v = v + (1 - beta_2) * (grad**2 - v)
    move = m / (1 - beta_1**step) / (np.sqrt(v / (1 - beta_2**step)) + eps)
    if param.ndim > 1:
        move = move + weight_decay * param
    return param - lr * move, m, v


def warmup_schedule(step, warmup, total):
    if step < warmup:
        return step / warmup
    if step >= total:
        return 0.0
    return (total - step) / (total - warmup)


def clip_global_norm(grads, max_norm):
    norm = math.sqrt(sum(float((g * g).sum()) for g in grads.values()))
    shrink = min(1.0, max_norm / (norm + 1e-6))
    return {name: g * shrink for name, g in grads.items()}, norm


def gradient_accumulation(xs, labels, w, b):
    n = sum(int((y != -100).sum()) for y in labels)
    loss, dw, db = 0.0, np.zeros_like(w), np.zeros_like(b)
    for x, y in zip(xs, labels, strict=True):
        x, y = x[y != -100], y[y != -100]
        z = x @ w + b
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        hit = np.arange(len(b)) == y[:, None]
        loss -= float(np.log(p[hit]).sum()) / n
        dw += x.T @ (p - hit) / n
        db += (p - hit).sum(axis=0) / n
    return loss, dw, db


def gradient_checker(forward, backward, args, dy):
    def loss(name, value):
        return (dy * forward(**{**args, name: value})).sum()

    h = 1e-5
    grads = backward(dy, **args)
    found = {}
    for name, x in args.items():
        if x.dtype != np.float64:
            continue
        slope = np.zeros_like(x)
        for i in np.ndindex(x.shape):
            more, less = x.copy(), x.copy()
            more[i] += h
            less[i] -= h
            slope[i] = (loss(name, more) - loss(name, less)) / (2 * h)
        given = grads.get(name)
        error = np.inf
        if given is not None and given.shape == x.shape and np.isfinite(given).all():
            error = abs(given - slope).max() / max(1.0, abs(slope).max())
        found[name] = error, error <= 1e-6
    return found


# Distillation


def soft_targets(student_logits, teacher_logits, tau):
    def log_softmax(z):
        z = z - z.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    log_p = log_softmax(student_logits / tau)
    wanted = np.exp(log_softmax(teacher_logits / tau))
    rows = len(log_p)
    return -(tau**2) * (wanted * log_p).sum() / rows, tau / rows * (np.exp(log_p) - wanted)


def kl_backward(dloss, student_logits, teacher_logits, keep, tau):
    def soft(z):
        e = np.exp((z - z.max(axis=-1, keepdims=True)) / tau)
        return e / e.sum(axis=-1, keepdims=True)

    weight = dloss * tau / max(int(keep.sum()), 1)
    return keep[:, :, None] * (soft(student_logits) - soft(teacher_logits)) * weight


def attention_loss(student_scores, teacher_scores, keep):
    both = keep[:, None, :, None] & keep[:, None, None, :]
    n = max(student_scores.shape[1] * int(both.sum()), 1)
    apart = both * (student_scores - teacher_scores)
    return (apart * apart).sum() / n, apart * (2 / n)


def hidden_loss(student_hidden, teacher_hidden, w_h, keep):
    apart = keep[:, :, None] * (student_hidden @ w_h - teacher_hidden)
    n = max(int(keep.sum()) * w_h.shape[1], 1)
    d = 2 * apart / n
    dw_h = np.tensordot(student_hidden, d, axes=((0, 1), (0, 1)))
    return (apart * apart).sum() / n, d @ w_h.T, dw_h


def layer_mapping(strategy, num_student, num_teacher):
    own = np.arange(num_student + 1)
    if strategy == "uniform" and num_teacher % num_student == 0:
        return own * (num_teacher // num_student)
    if strategy == "top" and num_student <= num_teacher:
        own[1:] += num_teacher - num_student
        return own
    if strategy == "bottom" and num_student <= num_teacher:
        return own
    return own[:0]


def pkd_loss(student_hidden, teacher_hidden, levels):
    loss, dhidden = 0.0, np.zeros_like(student_hidden)
    _, b, _, d = student_hidden.shape
    n = len(levels) * b * d
    for own, other in levels:
        x, t = student_hidden[own, :, 0], teacher_hidden[other, :, 0]
        size = np.linalg.norm(x, axis=-1, keepdims=True)
        unit = x / size
        apart = unit - t / np.linalg.norm(t, axis=-1, keepdims=True)
        along = (unit * apart).sum(axis=-1, keepdims=True)
        loss += (apart * apart).sum() / n
        dhidden[own, :, 0] += 2 / n * (apart - unit * along) / size
    return loss, dhidden


def cosine_loss(student_hidden, teacher_hidden, keep):
    size = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    x = student_hidden / size
    t = teacher_hidden / np.linalg.norm(teacher_hidden, axis=-1, keepdims=True)
    cos = (x * t).sum(axis=-1, keepdims=True)
    n = max(int(keep.sum()), 1)
    kept = keep[:, :, None]
    return ((1 - cos) * kept).sum() / n, kept * (cos * x - t) / size / n


def minilm_loss(student_scores, teacher_scores, student_v, teacher_v, keep):
    both = keep[:, None, :, None] & keep[:, None, None, :]
    n = max(student_scores.shape[1] * int(keep.sum()), 1)

    def log_softmax(a):
        a = np.where(both, a, -1e30)
        a = a - a.max(axis=-1, keepdims=True)
        return a - np.log(np.exp(a).sum(axis=-1, keepdims=True))

    def compare(student, teacher):
        ours, theirs = log_softmax(student), log_softmax(teacher)
        wanted = both * np.exp(theirs)
        loss = (wanted * (theirs - ours)).sum() / n
        return loss, (both * np.exp(ours) - wanted) / n

    def relation(v):
        return v @ v.swapaxes(-1, -2) / v.shape[-1] ** 0.5

    of_scores, dscores = compare(student_scores, teacher_scores)
    of_values, d = compare(relation(student_v), relation(teacher_v))
    dv = (d + d.swapaxes(-1, -2)) @ student_v / student_v.shape[-1] ** 0.5
    return of_scores, of_values, dscores, dv


# Programs


def multi_head_attention(x, memory, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    q, k, v = x @ w_q + b_q, memory @ w_k + b_k, memory @ w_v + b_v
    size = x.shape[-1] // num_heads
    heads = []
    for columns in (slice(i, i + size) for i in range(0, x.shape[-1], size)):
        a = q[..., columns] @ k[..., columns].swapaxes(-1, -2) / size**0.5
        a = np.where(keep[:, None, :], a, -1e30)
        e = np.exp(a - a.max(axis=-1, keepdims=True)) * keep[:, None, :]
        total = e.sum(axis=-1, keepdims=True)
        heads.append(e / np.where(total == 0, 1, total) @ v[..., columns])
    return np.concatenate(heads, axis=-1) @ w_o + b_o


def tinybert_step(
    student_hidden,
    student_scores,
    student_logits,
    teacher_hidden,
    teacher_scores,
    teacher_logits,
    keep,
    w_e,
    w_h,
    tau,
    rate,
):
    n = int(keep.sum()) * w_e.shape[1]
    both = keep[:, None, :, None] & keep[:, None, None, :]
    num_pairs = student_scores.shape[2] * int(both.sum())
    every = len(teacher_scores) // len(student_scores)

    def of_hidden(own, other, w):
        apart = keep[:, :, None] * (own @ w - other)
        d = 2 * apart / n
        return (apart**2).sum() / n, d @ w.T, np.tensordot(own, d, axes=((0, 1), (0, 1)))

    def log_softmax(z):
        z = z - z.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    dhidden, dscores = np.zeros_like(student_hidden), np.zeros_like(student_scores)
    of_embedding, dhidden[0], dw_e = of_hidden(student_hidden[0], teacher_hidden[0], w_e)
    of_layers, of_scores, dw_h = 0.0, 0.0, np.zeros_like(w_h)
    for m in range(1, len(student_hidden)):
        loss, dhidden[m], dw = of_hidden(student_hidden[m], teacher_hidden[m * every], w_h)
        of_layers, dw_h = of_layers + loss, dw_h + dw
        apart = both * (student_scores[m - 1] - teacher_scores[m * every - 1])
        of_scores += (apart**2).sum() / num_pairs
        dscores[m - 1] = 2 * apart / num_pairs
    ours, theirs = log_softmax(student_logits / tau), log_softmax(teacher_logits / tau)
    rows = len(ours)
    of_logits = tau**2 * (np.exp(theirs) * (theirs - ours)).sum() / rows
    dlogits = tau / rows * (np.exp(ours) - np.exp(theirs))
    losses = of_embedding, of_layers, of_scores, of_logits
    return *losses, dhidden, dscores, dlogits, w_e - rate * dw_e, w_h - rate * dw_h
