"""Wrong answers, second set: written from the statements alone, before any check was run on
them."""
import math

import numpy as np


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def _masked_softmax(scores, keep):
    top = np.where(keep, scores, -np.inf).max(axis=-1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(scores.dtype)
    e = np.where(keep, np.exp(np.where(keep, scores - top, 0)), 0)
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def _cdf(h):
    return (0.5 * (1 + np.vectorize(math.erf, otypes=[float])(h / 2 ** 0.5))).astype(h.dtype)


def _pdf(h):
    return np.exp(-0.5 * h * h) / (2 * math.pi) ** 0.5


def _1(dy, x, w):
    dx = dy @ w.T
    rows = dy.reshape(-1, dy.shape[-1])
    dw = x.reshape(-1, x.shape[-1]).T @ rows
    db = rows.mean(axis=0)
    return dx, dw, db


def _2(dy, bias):
    out = dy
    while out.ndim > bias.ndim:
        out = out.sum(axis=0)
    for axis, size in enumerate(bias.shape):
        if size == 1:
            out = out.mean(axis=axis, keepdims=True)
    return out


def _3(dy, y):
    s = 1 / (1 + np.exp(-y))
    return dy * s * (1 - s)


def _4(dy, y):
    return dy * (1 - y) ** 2


def _5(dy, x, cdf):
    density = cdf * (1 - cdf)
    return dy * (cdf + x * density)


def _6(dprobs, probs):
    return probs * (dprobs - dprobs.sum(axis=-1, keepdims=True))


def _7(dlog_probs, log_probs):
    probs = np.exp(log_probs)
    return dlog_probs - probs * dlog_probs.mean(axis=-1, keepdims=True)


def _8(logits, labels):
    keep = labels != -100
    n = max(int(keep.sum()), 1)
    safe = np.where(keep, labels, 0)[..., None]
    log_probs = _log_softmax(logits)
    loss = float(-(np.take_along_axis(log_probs, safe, -1)[..., 0] * keep).sum() / n)
    onehot = np.arange(logits.shape[-1]) == safe
    dlogits = (np.exp(log_probs) - onehot) * keep[..., None] / labels.size
    return loss, dlogits.astype(logits.dtype)


def _9(logits, labels):
    keep = labels != -100
    n = max(int(keep.sum()), 1)
    safe = np.where(keep, labels, 0)[..., None]
    log_probs = _log_softmax(logits)
    loss = float(-(np.take_along_axis(log_probs, safe, -1)[..., 0] * keep).sum() / n)
    onehot = (np.arange(logits.shape[-1]) == safe) * keep[..., None]
    dlogits = (np.exp(log_probs) - onehot) / n
    return loss, dlogits.astype(logits.dtype)


def _10(logits, labels, alpha):
    n, c = labels.size, logits.shape[-1]
    log_probs = _log_softmax(logits)
    onehot = (np.arange(c) == labels[..., None]).astype(logits.dtype)
    target = (1 - alpha) * onehot + alpha / c
    loss = float(-(target * log_probs).sum() / n)
    dlogits = (np.exp(log_probs) - (1 - alpha) * onehot) / n
    return loss, dlogits


def _11(dy, xhat, rstd, gamma):
    axes = tuple(range(dy.ndim - 1))
    g = dy * gamma
    proj = (dy * xhat).mean(axis=-1, keepdims=True)
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * proj)
    return dx, (dy * xhat).sum(axis=axes), dy.sum(axis=axes)


def _12(dy, xhat, rrms, gamma):
    g = dy * gamma
    proj = (g * xhat).mean(axis=-1, keepdims=True)
    dx = rrms * (g - g.mean(axis=-1, keepdims=True) - xhat * proj)
    return dx, (dy * xhat).sum(axis=tuple(range(dy.ndim - 1)))


def _13(dy, keep, p_drop):
    return dy * keep * (1 - p_drop)


def _14(dy, ids, table):
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    count = np.bincount(ids.ravel(), minlength=len(table)).astype(table.dtype)
    return dtable / np.maximum(count, 1)[:, None]


def _15(dy, x, w, h):
    d = w.shape[0]
    dz = dy * (1 - h * h)
    dx = dy + dz @ w
    dw = x.reshape(-1, d).T @ dz.reshape(-1, d)
    return dx, dw


def _16(dctx, q, k, v, keep, r):
    scale = q.shape[-1] ** 0.5
    probs = _masked_softmax(q @ k.swapaxes(-1, -2) / scale, keep)
    dropped = probs * r
    dv = dropped.swapaxes(-1, -2) @ dctx
    dprobs = dctx @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True)) * r
    return dscores @ k / scale, dscores.swapaxes(-1, -2) @ q / scale, dv


def _17(dctx, q, k, v, keep, r):
    scale = q.shape[-1] ** 0.5
    probs = _masked_softmax(q @ k.swapaxes(-1, -2) / scale, keep)
    dropped = probs * r
    dv = dropped.swapaxes(-1, -2) @ dctx
    dprobs = dctx @ v.swapaxes(-1, -2) * r
    dscores = dropped * (dprobs - (dprobs * dropped).sum(axis=-1, keepdims=True))
    return dscores @ k / scale, dscores.swapaxes(-1, -2) @ q / scale, dv


def _18(dctx, dscores, q, k, v, keep):
    scale = q.shape[-1] ** 0.5
    mask = keep[:, None, None, :]
    probs = _masked_softmax(q @ k.swapaxes(-1, -2) / scale, mask)
    dprobs = dctx @ v.swapaxes(-1, -2)
    inner = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    total = (inner + dscores) * mask
    dq, dk = total @ k / scale, total.swapaxes(-1, -2) @ q / scale
    return dq, dk, probs.swapaxes(-1, -2) @ dctx


def _19(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    b, t, d = x.shape
    size = d // num_heads

    def split(a):
        return a.reshape(b, t, num_heads, size).transpose(0, 2, 1, 3)

    def merge(a):
        return a.transpose(0, 2, 1, 3).reshape(b * t, d)

    q, k, v = split(x @ w_q + b_q), split(x @ w_k + b_k), split(x @ w_v + b_v)
    scores = q @ k.swapaxes(-1, -2) / size ** 0.5
    probs = _masked_softmax(scores, keep[:, None, None, :])
    rows, flat = dy.reshape(-1, d), x.reshape(-1, d)
    dw_o, db_o = merge(probs @ v).T @ rows, rows.sum(axis=0)
    dctx = split(dy @ w_o.T)
    dv = merge(probs.swapaxes(-1, -2) @ dctx)
    dprobs = dctx @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = merge(dscores @ k) / size ** 0.5
    dk = merge(dscores @ q) / size ** 0.5
    dx = (dq @ w_q.T + dk @ w_k.T + dv @ w_v.T).reshape(x.shape)
    return (dx, flat.T @ dq, dq.sum(axis=0), flat.T @ dk, dk.sum(axis=0),
            flat.T @ dv, dv.sum(axis=0), dw_o, db_o)


def _20(dy, table):
    dtable = np.zeros_like(table)
    for row in dy:
        dtable[:dy.shape[1]] = row
    return dy.copy(), dtable


def _21(dscores, bucket, num_buckets):
    dtable = np.zeros((num_buckets, dscores.shape[1]), dtype=dscores.dtype)
    pairs = dscores.sum(axis=(0, 1))
    np.add.at(dtable, bucket, pairs[..., None])
    return dtable


def _22(dy, positions):
    half = dy.shape[-1] // 2
    theta = positions[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(theta).astype(dy.dtype), np.sin(theta).astype(dy.dtype)
    dy_a, dy_b = dy[..., :half], dy[..., half:]
    return np.concatenate([dy_a * cos + dy_b * sin, dy_a * sin + dy_b * cos], axis=-1)


def _23(dy, x, w_1, b_1, w_2):
    h = x @ w_1 + b_1
    a = h * _cdf(h)
    rows, flat = dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1])
    dw_2, db_2 = a.reshape(-1, a.shape[-1]).T @ rows, rows.sum(axis=0)
    dh = (dy @ w_2.T) * (_cdf(a) + a * _pdf(a))
    dh_rows = dh.reshape(-1, dh.shape[-1])
    return dh @ w_1.T, flat.T @ dh_rows, dh_rows.sum(axis=0), dw_2, db_2


def _24(dy, x, w, b, gamma, eps):
    d = x.shape[-1]
    u = x + x @ w + b
    centred = u - u.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + eps)
    uhat = centred * rstd
    g = dy * gamma
    proj = (g * uhat).mean(axis=-1, keepdims=True)
    du = rstd * (g - g.mean(axis=-1, keepdims=True) - uhat * proj)
    dx = dy + du @ w.T
    dw = x.reshape(-1, d).T @ du.reshape(-1, d)
    return dx, dw, du.sum(axis=(0, 1)), (dy * uhat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))


def _25(dy, x, w, gamma, beta, eps):
    d = x.shape[-1]
    centred = x - x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + eps)
    xhat = centred * rstd
    dw = xhat.reshape(-1, d).T @ dy.reshape(-1, d)
    dn = dy @ w.T
    g = dn * gamma
    proj = (g * xhat).mean(axis=-1, keepdims=True)
    dx = dy + rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * proj)
    return dx, dw, dy.sum(axis=(0, 1)), (dn * xhat).sum(axis=(0, 1)), dn.sum(axis=(0, 1))


def _26(dpooled, hidden, w, b):
    z = hidden[:, 0] @ w + b
    dz = dpooled * (1 - z ** 2)
    dhidden = np.zeros_like(hidden)
    dhidden[:, 0] = dz @ w.T
    return dhidden, hidden[:, 0].T @ dz, dz.sum(axis=0)


def _27(dlogits, dembedded, states, ids, table):
    v, d = table.shape
    dstates = dlogits @ table
    dtable = dlogits.reshape(-1, v).T @ states.reshape(-1, d)
    np.add.at(dtable, ids, dstates)
    return dstates, dtable, dlogits.sum(axis=(0, 1))


def _28(xs, labels, w, b):
    rows = sum(len(y) for y in labels)
    loss, dw, db = 0.0, np.zeros_like(w), np.zeros_like(b)
    for x, y in zip(xs, labels):
        keep = y != -100
        n = max(int(keep.sum()), 1)
        log_probs = _log_softmax(x @ w + b)
        onehot = np.arange(len(b)) == y[:, None]
        share = len(y) / rows
        loss -= float(log_probs[onehot].sum()) / n * share
        dlogits = (np.exp(log_probs) - onehot) * keep[:, None] / n * share
        dw += x.T @ dlogits
        db += dlogits.sum(axis=0)
    return loss, dw, db


def _29(student_logits, teacher_logits, tau):
    rows = len(student_logits)
    teacher_probs = _softmax(teacher_logits)
    log_probs = _log_softmax(student_logits / tau)
    loss = float(-tau ** 2 * (teacher_probs * log_probs).sum() / rows)
    return loss, tau * (np.exp(log_probs) - teacher_probs) / rows


def _30(dloss, student_logits, teacher_logits, keep, tau):
    n = max(int(keep.sum()), 1)
    log_s, log_t = _log_softmax(student_logits / tau), _log_softmax(teacher_logits / tau)
    student_probs = np.exp(log_s)
    ratio = log_s - log_t
    inner = student_probs * (ratio - (student_probs * ratio).sum(axis=-1, keepdims=True))
    return dloss * tau / n * (inner * keep[..., None])


def _31(student_scores, teacher_scores, keep):
    heads = student_scores.shape[1]
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    n = max(heads * int(keep.sum()) ** 2, 1)
    error = np.where(pairs, student_scores - teacher_scores, 0)
    return float((error ** 2).sum() / n), 2 * error / n


def _32(student_hidden, teacher_hidden, w_h, keep):
    d_s, d_t = w_h.shape
    n = max(d_t * int(keep.sum()), 1)
    difference = student_hidden @ w_h - teacher_hidden
    error = difference * keep[..., None]
    loss = float((error ** 2).sum() / n)
    dw_h = 2 / n * (student_hidden.reshape(-1, d_s).T @ difference.reshape(-1, d_t))
    return loss, 2 / n * (error @ w_h.T), dw_h


def _33(student_hidden, teacher_hidden, levels):
    x, t = student_hidden[levels[:, 0], :, 0], teacher_hidden[levels[:, 1], :, 0]
    norm = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    x_unit = x / norm
    target_unit = t / np.sqrt((t * t).sum(axis=-1, keepdims=True))
    error = x_unit - target_unit
    g = 2 * error / x.size
    dx = (g - x_unit * (g * x_unit).sum(axis=-1, keepdims=True)) / norm
    dstudent = np.zeros_like(student_hidden)
    dstudent[levels[:, 0], :, 0] += dx
    return float((error ** 2).sum() / x.size), dstudent


def _34(student_hidden, teacher_hidden, keep):
    n = max(int(keep.sum()), 1)
    x_norm = np.sqrt((student_hidden ** 2).sum(axis=-1, keepdims=True))
    t_norm = np.sqrt((teacher_hidden ** 2).sum(axis=-1, keepdims=True))
    x_unit, t_unit = student_hidden / x_norm, teacher_hidden / t_norm
    cos = (x_unit * t_unit).sum(axis=-1)
    loss = float(((1 - cos) * keep).sum() / n)
    dstudent = -(t_unit - cos[..., None] * x_unit) / t_norm * keep[..., None] / n
    return loss, dstudent


def _35(student_scores, teacher_scores, student_v, teacher_v, keep):
    heads = student_scores.shape[1]
    n = max(heads * int(keep.sum()), 1)
    keys, queries = keep[:, None, None, :], keep[:, None, :, None]

    def divergence(student, teacher):
        log_s = _log_softmax(np.where(keys, student, -1e9).astype(student.dtype))
        log_t = _log_softmax(np.where(keys, teacher, -1e9).astype(teacher.dtype))
        pairs = keys & queries
        p_s, p_t = np.where(pairs, np.exp(log_s), 0), np.where(pairs, np.exp(log_t), 0)
        return float((p_t * np.where(pairs, log_t - log_s, 0)).sum() / n), (p_s - p_t) / n

    scale = student_v.shape[-1] ** 0.5
    student_relation = student_v @ student_v.swapaxes(-1, -2) / scale
    teacher_relation = teacher_v @ teacher_v.swapaxes(-1, -2) / teacher_v.shape[-1] ** 0.5
    attention_loss, dscores = divergence(student_scores, teacher_scores)
    value_loss, drelation = divergence(student_relation, teacher_relation)
    dv = 2 * drelation @ student_v / scale
    return attention_loss, value_loss, dscores, dv


def _36(student_hidden, student_scores, student_logits, teacher_hidden, teacher_scores,
        teacher_logits, keep, w_e, w_h, tau, rate):
    layers, step = len(student_scores), len(teacher_scores) // len(student_scores)
    d_s, d_t = w_h.shape
    n, k = d_t * int(keep.sum()), keep[..., None]
    pairs = keep[:, None, :, None] & keep[:, None, None, :]
    n_pairs = student_scores.shape[2] * int(pairs.sum())
    dhidden, dscores = np.zeros_like(student_hidden), np.zeros_like(student_scores)
    hidden_loss, attention_loss, dw_h = 0.0, 0.0, np.zeros_like(w_h)
    error = (student_hidden[0] @ w_e - teacher_hidden[0]) * k
    embedding_loss = float((error ** 2).sum() / n)
    dhidden[0] = 2 / n * (error @ w_e.T)
    dw_e = 2 / n * (student_hidden[0].reshape(-1, d_s).T @ error.reshape(-1, d_t))
    for m in range(1, layers + 1):
        error = (student_hidden[m] @ w_h - teacher_hidden[m * step]) * k
        hidden_loss += float((error ** 2).sum() / n)
        dhidden[m] = 2 / n * (error @ w_h.T)
        dw_h = 2 / n * (student_hidden[m].reshape(-1, d_s).T @ error.reshape(-1, d_t))
        gap = (student_scores[m - 1] - teacher_scores[m * step - 1]) * pairs
        attention_loss += float((gap ** 2).sum() / n_pairs)
        dscores[m - 1] = 2 * gap / n_pairs
    log_s, log_t = _log_softmax(student_logits / tau), _log_softmax(teacher_logits / tau)
    p_t, rows = np.exp(log_t), len(student_logits)
    prediction_loss = float(tau ** 2 * (p_t * (log_t - log_s)).sum() / rows)
    dlogits = tau * (np.exp(log_s) - p_t) / rows
    return (embedding_loss, hidden_loss, attention_loss, prediction_loss, dhidden, dscores,
            dlogits, w_e - rate * dw_e, w_h - rate * dw_h)


UNPLANNED_2 = [
    ("linear-backward", _1,
     "db is the mean of dy over the rows, where it should be the sum."),
    ("broadcast-bias", _2,
     "Over the axes of length 1 of the bias the gradient is averaged, not summed."),
    ("sigmoid-backward", _3,
     "The derivative is taken at y as if y were the input: the sigmoid is applied twice."),
    ("tanh-backward", _4,
     "The square stands at the wrong place: (1 - y) ** 2 for 1 - y ** 2."),
    ("gelu-backward", _5,
     "cdf (1 - cdf), the derivative of the logistic function, is used as the density."),
    ("softmax-backward", _6,
     "What is subtracted is the plain sum of dprobs, not weighted by probs."),
    ("log-softmax-backward", _7,
     "The mean of dlog_probs over the classes is taken in place of their sum."),
    ("cross-entropy", _8,
     "The gradient is divided by the number of all rows, ignored ones included."),
    ("cross-entropy", _9,
     "Ignored rows lose only their one-hot target: their gradient is probs / n, not zero."),
    ("label-smoothing", _10,
     "The gradient forgets the share alpha / C that every class has in the target."),
    ("layer-norm-backward", _11,
     "The term of the variance uses dy, without gamma, in its mean."),
    ("rms-norm-backward", _12,
     "The mean of the gradient is subtracted, as in layer norm, though nothing is centred."),
    ("dropout-backward", _13,
     "The gradient is multiplied by 1 - p_drop, where it should be divided by it."),
    ("embedding-backward", _14,
     "The gradient of an id that repeats is the mean over its places, not the sum."),
    ("residual-backward", _15,
     "In the branch's part of dx, w is not transposed."),
    ("attention-backward", _16,
     "The dropout factors come after the softmax's backward, not before it."),
    ("attention-backward", _17,
     "The softmax's backward uses the dropped weights in place of probs: r counts twice."),
    ("scores-gradient", _18,
     "The mask also wipes out the other loss's gradient at padded keys."),
    ("multi-head-backward", _19,
     "In dk, dscores is not transposed, so queries and keys change places."),
    ("learned-positions-backward", _20,
     "Each sequence overwrites the table's gradient: only the last one counts."),
    ("relative-bias-backward", _21,
     "The sum also runs over the heads, and every head gets the sum of all."),
    ("rotary-backward", _22,
     "Only one of the two sines changes its sign, so it is no rotation back."),
    ("feed-forward-backward", _23,
     "The derivative of the GELU is taken at its output a, not at its input h."),
    ("post-ln-backward", _24,
     "The residual path is given dy, the gradient after the norm, in place of du."),
    ("pre-ln-backward", _25,
     "dw uses xhat in place of n: gamma and beta are forgotten."),
    ("pooler-backward", _26,
     "The derivative of tanh is 1 - z ** 2, of the input, not of the output pooled."),
    ("tied-head-backward", _27,
     "The look-up's part of dtable scatters dstates in place of dembedded."),
    ("gradient-accumulation", _28,
     "Micro-batch means are weighted by their rows, not by their labels."),
    ("soft-targets", _29,
     "The teacher's logits are not divided by tau."),
    ("kl-backward", _30,
     "The gradient is that of the reversed divergence, student from teacher."),
    ("attention-loss", _31,
     "Pairs are counted as the square of all kept tokens, across sequences too."),
    ("hidden-loss", _32,
     "dw_h is computed from the difference before the mask, so padding counts in it."),
    ("pkd-loss", _33,
     "A layer of the student that stands in several rows gets only one row's gradient."),
    ("distilbert-cosine", _34,
     "The gradient is divided by the length of the teacher's vector, not the student's."),
    ("minilm-relations", _35,
     "dv doubles one of the two paths, as if the relation's gradient were symmetric."),
    ("tinybert-step", _36,
     "The gradient of w_h, which all layers share, is overwritten: the last layer's remains."),
]
