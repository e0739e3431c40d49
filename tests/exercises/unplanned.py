"""Wrong answers that nobody planned: written from the statements alone, before any check was run on them."""
import math

import numpy as np


def _1(dy, x, w):
    dx = dy @ w.T
    dw = x.reshape(w.shape[0], -1) @ dy.reshape(-1, w.shape[1])
    db = dy.reshape(-1, w.shape[1]).sum(axis=0)
    return dx, dw, db


def _2(dy, bias):
    return dy.reshape((-1,) + bias.shape).sum(axis=0)


def _3(dy, x):
    return dy * 0.5 * (1 + np.sign(x))


def _4(dy, y):
    return dy * y - y * y


def _5(dy, y):
    return dy * (1 - y) ** 2


def _6(dy, x, cdf):
    pdf = np.exp(-x ** 2 / 2) / (2 * np.pi)
    return dy * (cdf + x * pdf)


def _7(dy, x, cdf):
    return dy * (cdf + x * cdf * (1 - cdf))


def _8(dprobs, probs):
    weighted = dprobs * probs
    return weighted - weighted.sum(axis=-1, keepdims=True)


def _9(dlog_probs, log_probs):
    return dlog_probs - np.exp(log_probs)


def _10(dlog_probs, log_probs):
    probs = np.exp(log_probs)
    dprobs = dlog_probs / probs
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


def _11(logits, labels):
    shape, C = logits.shape, logits.shape[-1]
    z, y = logits.reshape(-1, C), labels.reshape(-1)
    z = z - z.max(axis=-1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    rows = np.flatnonzero(y != -100)
    dlogits = np.zeros_like(log_probs)
    if len(rows) == 0:
        return 0.0, dlogits.reshape(shape)
    loss = -log_probs[rows, y[rows]].mean()
    dlogits[rows] = np.exp(log_probs[rows])
    dlogits[rows, y[rows]] -= 1
    return loss, (dlogits / len(y)).reshape(shape)


def _12(logits, labels, alpha):
    C = logits.shape[-1]
    z = logits - logits.max(axis=-1, keepdims=True)
    log_probs = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    one_hot = np.eye(C)[labels]
    target = (1 - alpha) * one_hot + alpha / C
    loss = -(target * log_probs).sum() / labels.size
    dlogits = (np.exp(log_probs) - (1 - alpha) * one_hot) / labels.size
    return loss, dlogits


def _13(dy, xhat, rstd, gamma):
    rows = tuple(range(dy.ndim - 1))
    first = dy.mean(axis=-1, keepdims=True)
    second = (dy * xhat).mean(axis=-1, keepdims=True)
    dx = rstd * (dy * gamma - first - xhat * second)
    return dx, (dy * xhat).sum(axis=rows), dy.sum(axis=rows)


def _14(dy, xhat, rstd, gamma):
    D = dy.shape[-1]
    rows = tuple(range(dy.ndim - 1))
    dxhat = dy * gamma
    first = dxhat.sum(axis=-1, keepdims=True) / D
    second = (dxhat * xhat).sum(axis=-1, keepdims=True) / (D - 1)
    dx = rstd * (dxhat - first - xhat * second)
    return dx, (dy * xhat).sum(axis=rows), dy.sum(axis=rows)


def _15(dy, xhat, rrms, gamma):
    dxhat = dy * gamma
    inner = (dxhat * xhat).mean(axis=-1, keepdims=True)
    dx = rrms * dxhat - rrms ** 3 * xhat * inner
    return dx, (dy * xhat).reshape(-1, len(gamma)).sum(axis=0)


def _16(dy, keep, p_drop):
    return dy * keep / max(keep.mean(), 1e-12)


def _17(dy, ids, table):
    dtable = np.zeros_like(table)
    D = table.shape[1]
    ids2 = np.atleast_2d(ids).reshape(-1, np.atleast_1d(ids).shape[-1])
    dy3 = dy.reshape(ids2.shape + (D,))
    for row in range(len(ids2)):
        dtable[ids2[row]] += dy3[row]
    return dtable


def _18(dy, x, w, h):
    D = w.shape[0]
    dz = dy * (1 - h ** 2)
    dx = dy + dz @ w.T
    dw = x.reshape(-1, D).T @ (dy + dz).reshape(-1, D)
    return dx, dw


def _19(dctx, q, k, v, keep, r):
    scale = 1 / np.sqrt(q.shape[-1])
    scores = q @ k.swapaxes(-1, -2) * scale
    masked = np.where(keep, scores, -1e30)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True)) * keep
    total = e.sum(axis=-1, keepdims=True)
    probs = e / np.where(total > 0, total, 1)
    dropped = probs * r
    dv = dropped.swapaxes(-1, -2) @ dctx
    dprobs = dctx @ v.swapaxes(-1, -2) * r
    dscores = dropped * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = dscores @ k * scale
    dk = dscores.swapaxes(-1, -2) @ q * scale
    return dq, dk, dv


def _20(dctx, q, k, v, keep, r):
    q_scaled = q / np.sqrt(q.shape[-1])
    scores = q_scaled @ k.swapaxes(-1, -2)
    masked = np.where(keep, scores, -1e30)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True)) * keep
    total = e.sum(axis=-1, keepdims=True)
    probs = e / np.where(total > 0, total, 1)
    dropped = probs * r
    dv = dropped.swapaxes(-1, -2) @ dctx
    dprobs = dctx @ v.swapaxes(-1, -2) * r
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = dscores @ k
    dk = dscores.swapaxes(-1, -2) @ q_scaled
    return dq, dk, dv


def _21(dctx, dscores, q, k, v, keep):
    K = q.shape[-1]
    mask = keep[:, None, None, :]
    masked = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(K), -1e30)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True)) * mask
    total = e.sum(axis=-1, keepdims=True)
    probs = e / np.where(total > 0, total, 1)
    dv = probs.swapaxes(-1, -2) @ dctx
    dprobs = dctx @ v.swapaxes(-1, -2)
    from_ctx = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    both = from_ctx / np.sqrt(K) + dscores
    return both @ k, both.swapaxes(-1, -2) @ q, dv


def _22(dctx, dscores, q, k, v, keep):
    K = q.shape[-1]
    mask = keep[:, None, None, :]
    masked = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(K), -1e30)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True)) * mask
    total = e.sum(axis=-1, keepdims=True)
    probs = e / np.where(total > 0, total, 1)
    dv = probs.swapaxes(-1, -2) @ dctx
    dprobs = dctx @ v.swapaxes(-1, -2)
    from_ctx = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = (from_ctx + dscores) @ k / np.sqrt(K)
    dk = from_ctx.swapaxes(-1, -2) @ q / np.sqrt(K)
    return dq, dk, dv


def _23(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    B, T, D = x.shape
    K = D // num_heads
    split = lambda a: a.reshape(B, T, num_heads, K).transpose(0, 2, 1, 3)
    merge = lambda a: a.transpose(0, 2, 1, 3).reshape(B, T, D)
    q, k, v = split(x @ w_q + b_q), split(x @ w_k + b_k), split(x @ w_v + b_v)
    mask = keep[:, None, None, :]
    masked = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(K), -1e30)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True)) * mask
    total = e.sum(axis=-1, keepdims=True)
    probs = e / np.where(total > 0, total, 1)
    ctx = merge(probs @ v)
    dctx = split(dy @ w_o.T)
    dv = merge(probs.swapaxes(-1, -2) @ dctx)
    dprobs = dctx @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dq = merge(dscores @ k / np.sqrt(K))
    dk = merge(dscores @ q / np.sqrt(K))
    dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T
    dw = lambda a, d: a.reshape(-1, D).T @ d.reshape(-1, D)
    db = lambda d: d.sum(axis=(0, 1))
    return dx, dw(x, dq), db(dq), dw(x, dk), db(dk), dw(x, dv), db(dv), dw(ctx, dy), db(dy)


def _24(dy, x, keep, w_q, b_q, w_k, b_k, w_v, b_v, w_o, b_o, num_heads):
    B, T, D = x.shape
    K = D // num_heads
    split = lambda a: a.reshape(B, T, num_heads, K).transpose(0, 2, 1, 3)
    merge = lambda a: a.transpose(0, 2, 1, 3).reshape(B, T, D)
    q, k, v = split(x @ w_q + b_q), split(x @ w_k + b_k), split(x @ w_v + b_v)
    mask = keep[:, None, None, :]
    masked = np.where(mask, q @ k.swapaxes(-1, -2) / np.sqrt(K), -1e30)
    e = np.exp(masked - masked.max(axis=-1, keepdims=True)) * mask
    total = e.sum(axis=-1, keepdims=True)
    probs = e / np.where(total > 0, total, 1)
    ctx = merge(probs @ v)
    dctx = split(dy @ w_o.T)
    dv = merge(probs.swapaxes(-1, -2) @ dctx)
    dprobs = dctx @ v.swapaxes(-1, -2)
    dscores = probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))
    dscores = dscores * mask * keep[:, None, :, None]
    dq = merge(dscores @ k / np.sqrt(K))
    dk = merge(dscores.swapaxes(-1, -2) @ q / np.sqrt(K))
    dx = dq @ w_q.T + dk @ w_k.T + dv @ w_v.T
    dw = lambda a, d: a.reshape(-1, D).T @ d.reshape(-1, D)
    db = lambda d: d.sum(axis=(0, 1))
    return dx, dw(x, dq), db(dq), dw(x, dk), db(dk), dw(x, dv), db(dv), dw(ctx, dy), db(dy)


def _25(dy, table):
    dtable = np.zeros_like(table)
    for sequence in dy:
        dtable[:dy.shape[1]] = sequence
    return dy.copy(), dtable


def _26(dscores, bucket, num_buckets):
    B, H, T, S = dscores.shape
    per_pair = dscores.sum(axis=0).reshape(T, S, H)
    dtable = np.zeros((num_buckets, H))
    np.add.at(dtable, bucket, per_pair)
    return dtable


def _27(dy, positions):
    K = dy.shape[-1]
    theta = positions[:, None] * 10000.0 ** (-2 * np.arange(K // 2) / K)
    cos, sin = np.cos(theta), np.sin(theta)
    da, db = dy[..., :K // 2], dy[..., K // 2:]
    return np.concatenate([da * cos + db * sin, da * sin + db * cos], axis=-1)


def _28(dy, x, w_1, b_1, w_2):
    D, F = w_1.shape
    h = x @ w_1 + b_1
    a = h * 0.5 * (1 + np.vectorize(math.erf)(h / np.sqrt(2)))
    cdf = 0.5 * (1 + np.vectorize(math.erf)(a / np.sqrt(2)))
    slope = cdf + a * np.exp(-a ** 2 / 2) / np.sqrt(2 * np.pi)
    dh = dy @ w_2.T * slope
    dw_2 = a.reshape(-1, F).T @ dy.reshape(-1, D)
    dw_1 = x.reshape(-1, D).T @ dh.reshape(-1, F)
    return dh @ w_1.T, dw_1, dh.reshape(-1, F).sum(axis=0), dw_2, dy.reshape(-1, D).sum(axis=0)


def _29(dy, x, w_1, b_1, w_2):
    D, F = w_1.shape
    h = x @ w_1 + b_1
    a = h * 0.5 * (1 + np.vectorize(math.erf)(h / np.sqrt(2)))
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (h + 0.044715 * h ** 3))
    slope = 0.5 * (1 + t) + 0.5 * h * (1 - t ** 2) * c * (1 + 3 * 0.044715 * h ** 2)
    dh = dy @ w_2.T * slope
    dw_2 = a.reshape(-1, F).T @ dy.reshape(-1, D)
    dw_1 = x.reshape(-1, D).T @ dh.reshape(-1, F)
    return dh @ w_1.T, dw_1, dh.reshape(-1, F).sum(axis=0), dw_2, dy.reshape(-1, D).sum(axis=0)


def _30(dy, x, w, b, gamma, eps):
    u = x + x @ w + b
    centred = u - u.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + eps)
    uhat = centred * rstd
    duhat = dy * gamma
    du = rstd * (duhat - duhat.mean(axis=-1, keepdims=True)
                 - uhat * (duhat * uhat).mean(axis=-1, keepdims=True))
    dx = dy + du @ w.T
    dw = np.einsum("bti,bto->io", x, du)
    return dx, dw, du.sum(axis=(0, 1)), (dy * uhat).sum(axis=(0, 1)), dy.sum(axis=(0, 1))


def _31(dy, x, w, gamma, beta, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    rstd = 1 / np.sqrt((centred ** 2).mean(axis=-1, keepdims=True) + eps)
    xhat = centred * rstd
    n = gamma * xhat + beta
    dw = np.einsum("bti,bto->io", n, dy)
    db = dy.sum(axis=(0, 1))
    dn = dy @ w.T
    dgamma, dbeta = (dy * xhat).sum(axis=(0, 1)), dn.sum(axis=(0, 1))
    dxhat = dn * gamma
    dx = dy + rstd * (dxhat - dxhat.mean(axis=-1, keepdims=True)
                      - xhat * (dxhat * xhat).mean(axis=-1, keepdims=True))
    return dx, dw, db, dgamma, dbeta


def _32(dpooled, hidden, w, b):
    z = hidden[:, 0] @ w + b
    dz = dpooled * (1 - z ** 2)
    dhidden = np.zeros_like(hidden)
    dhidden[:, 0] = dz @ w.T
    return dhidden, hidden[:, 0].T @ dz, dz.sum(axis=0)


def _33(dlogits, dembedded, states, ids, table):
    V, D = table.shape
    dstates = dlogits @ table
    dtable = dlogits.reshape(-1, V).T @ states.reshape(-1, D)
    np.add.at(dtable, ids, dembedded + dstates)
    return dstates, dtable, dlogits.sum(axis=(0, 1))


def _34(xs, labels, w, b):
    n = sum((y != -100).sum() for y in labels)
    loss, dw, db = 0.0, np.zeros_like(w), np.zeros_like(b)
    for x, y in zip(xs, labels):
        logits = x @ w + b
        z = logits - logits.max(axis=-1, keepdims=True)
        log_probs = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
        rows = np.flatnonzero(y != -100)
        loss -= log_probs[rows, y[rows]].sum() / n
        dlogits = np.exp(log_probs)
        dlogits[rows, y[rows]] -= 1
        dw += x.T @ dlogits / n
        db += dlogits.sum(axis=0) / n
    return float(loss), dw, db


def _35(student_logits, teacher_logits, tau):
    def log_softmax(z):
        z = z - z.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    B = len(student_logits)
    teacher_probs = np.exp(log_softmax(teacher_logits / tau))
    loss = -tau ** 2 / B * (teacher_probs * log_softmax(student_logits / tau)).sum()
    student_probs = np.exp(log_softmax(student_logits))
    return loss, tau / B * (student_probs - teacher_probs)


def _36(dloss, student_logits, teacher_logits, keep, tau):
    def softmax(z):
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)
    student_probs, teacher_probs = softmax(student_logits / tau), softmax(teacher_logits / tau)
    n = max(keep.sum(), 1) * student_logits.shape[-1]
    return dloss * tau / n * keep[:, :, None] * (student_probs - teacher_probs)


def _37(student_scores, teacher_scores, keep):
    H = student_scores.shape[1]
    pairs = (keep[:, :, None] & keep[:, None, :])[:, None]
    n = H * max(keep.sum(), 1) ** 2
    error = pairs * (student_scores - teacher_scores)
    return (error ** 2).sum() / n, 2 * error / n


def _38(student_hidden, teacher_hidden, w_h, keep):
    n = max(keep.sum(), 1) * teacher_hidden.shape[-1]
    difference = student_hidden @ w_h - teacher_hidden
    error = keep[:, :, None] * difference
    loss = (error ** 2).sum() / n
    dstudent_hidden = 2 * error @ w_h.T / n
    dw_h = 2 * np.einsum("bti,bto->io", student_hidden, difference) / n
    return loss, dstudent_hidden, dw_h


def _39(student_hidden, teacher_hidden, levels):
    P, (_, B, _, D) = len(levels), student_hidden.shape
    x, t = student_hidden[levels[:, 0], :, 0], teacher_hidden[levels[:, 1], :, 0]
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    x_unit, target_unit = x / norm, t / np.linalg.norm(t, axis=-1, keepdims=True)
    loss = ((x_unit - target_unit) ** 2).sum() / (P * B * D)
    d_unit = 2 * (x_unit - target_unit) / (P * B * D)
    dx = (d_unit - target_unit * (d_unit * target_unit).sum(axis=-1, keepdims=True)) / norm
    dstudent_hidden = np.zeros_like(student_hidden)
    for row, m in enumerate(levels[:, 0]):
        dstudent_hidden[m, :, 0] += dx[row]
    return loss, dstudent_hidden


def _40(student_hidden, teacher_hidden, keep):
    n = max(keep.sum(), 1)
    norm = np.linalg.norm(student_hidden, axis=-1, keepdims=True)
    x_unit = student_hidden / norm
    t_unit = teacher_hidden / np.linalg.norm(teacher_hidden, axis=-1, keepdims=True)
    cos = (x_unit * t_unit).sum(axis=-1)
    loss = (keep * (1 - cos)).sum() / n
    dstudent_hidden = -(t_unit - cos[:, :, None] * student_hidden) / norm
    return loss, keep[:, :, None] * dstudent_hidden / n


def _41(student_scores, teacher_scores, student_v, teacher_v, keep):
    H, mask = student_scores.shape[1], keep[:, None, None, :]
    n = H * max(keep.sum(), 1)

    def kl(student, teacher):
        logs = []
        for a in (student, teacher):
            a = np.where(mask, a, -1e30)
            a = a - a.max(axis=-1, keepdims=True)
            logs.append(a - np.log((np.exp(a)).sum(axis=-1, keepdims=True)))
        log_s, log_t = logs
        p_s, p_t = np.exp(log_s) * mask, np.exp(log_t) * mask
        rows = keep[:, None, :, None]
        return (rows * p_t * np.where(mask, log_t - log_s, 0)).sum() / n, rows * (p_s - p_t) / n

    scale = 1 / np.sqrt(student_v.shape[-1])
    student_relation = student_v @ student_v.swapaxes(-1, -2) * scale
    teacher_relation = teacher_v @ teacher_v.swapaxes(-1, -2) / np.sqrt(teacher_v.shape[-1])
    attention_loss, dstudent_scores = kl(student_scores, teacher_scores)
    value_loss, drelation = kl(student_relation, teacher_relation)
    dstudent_v = 2 * drelation @ student_v * scale
    return attention_loss, value_loss, dstudent_scores, dstudent_v


def _42(student_hidden, student_scores, student_logits, teacher_hidden, teacher_scores, teacher_logits, keep, w_e, w_h, tau, rate):
    def log_softmax(z):
        z = z - z.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    M, N, H, B = len(student_scores), len(teacher_scores), student_scores.shape[2], len(student_logits)
    g = np.arange(1, M + 1) * N // M
    token = keep[:, :, None]
    n = keep.sum() * teacher_hidden.shape[-1]
    error_e = token * (student_hidden[0] @ w_e - teacher_hidden[0])
    error_h = token * (student_hidden[1:] @ w_h - teacher_hidden[g])
    pairs = (keep[:, :, None] & keep[:, None, :])[:, None]
    n_pairs = H * (keep.sum(axis=1) ** 2).sum()
    error_a = pairs * (student_scores - teacher_scores[g - 1])
    log_s, log_t = log_softmax(student_logits / tau), log_softmax(teacher_logits / tau)
    losses = ((error_e ** 2).sum() / n, (error_h ** 2).sum() / n, (error_a ** 2).sum() / n_pairs,
              tau ** 2 / B * (np.exp(log_t) * (log_t - log_s)).sum())
    d_e, d_h = 2 * error_e / n, 2 * error_h / n
    w_e = w_e - rate * np.einsum("bti,bto->io", student_hidden[0], d_e)
    w_h = w_h - rate * np.einsum("mbti,mbto->io", student_hidden[1:], d_h)
    dstudent_hidden = np.concatenate([(d_e @ w_e.T)[None], d_h @ w_h.T])
    dstudent_logits = tau / B * (np.exp(log_s) - np.exp(log_t))
    return *losses, dstudent_hidden, 2 * error_a / n_pairs, dstudent_logits, w_e, w_h


def _43(param, grad, m, v, step, lr, beta_1, beta_2, eps, weight_decay):
    m = beta_1 * m + (1 - beta_1) * grad
    v = beta_2 * v + (1 - beta_2) * grad ** 2
    m_hat, v_hat = m / (1 - beta_1 ** step), v / (1 - beta_2 ** step)
    param = param - lr * m_hat / (np.sqrt(v_hat) + eps)
    if param.ndim > 1:
        param = param - lr * weight_decay * param
    return param, m, v


def _44(q, k, v, block):
    B, H, T, K = q.shape
    m = np.zeros((B, H, T, 1))
    total = np.zeros((B, H, T, 1))
    mixed = np.zeros((B, H, T, v.shape[-1]))
    for start in range(0, k.shape[2], block):
        scores = q @ k[:, :, start:start + block].swapaxes(-1, -2) / np.sqrt(K)
        higher = np.maximum(m, scores.max(axis=-1, keepdims=True))
        weights, old = np.exp(scores - higher), np.exp(m - higher)
        total = total * old + weights.sum(axis=-1, keepdims=True)
        mixed = mixed * old + weights @ v[:, :, start:start + block]
        m = higher
    return mixed / total, m + np.log(total)


UNPLANNED = [
    ("linear-backward", _1, "x is reshaped to (I, rows) instead of reshaped to (rows, I) and transposed, which scrambles dw"),
    ("broadcast-bias", _2, "dy is cut into pieces of the bias's shape that are added up, which is right only if the bias has no axis of length 1 to be repeated"),
    ("relu-backward", _3, "half the gradient passes where x is exactly 0"),
    ("sigmoid-backward", _4, "the parentheses are lost: dy multiplies y but not y squared"),
    ("tanh-backward", _5, "one minus y is squared, instead of y alone"),
    ("gelu-backward", _6, "the density is divided by 2 pi: the square root is missing"),
    ("gelu-backward", _7, "the derivative of the normal distribution function is taken to be cdf (1 - cdf), as for the sigmoid"),
    ("softmax-backward", _8, "the sum over the row is subtracted without being multiplied by the probability"),
    ("log-softmax-backward", _9, "the probabilities are subtracted without the sum of the row's gradient, as if it were always 1"),
    ("log-softmax-backward", _10, "it goes back through the probabilities and divides by them, which gives NaN where one has underflowed to 0"),
    ("cross-entropy", _11, "the loss is averaged over the kept labels, but the gradient over all labels, the ignored ones too"),
    ("label-smoothing", _12, "the uniform share alpha / C of the target is forgotten in the gradient"),
    ("layer-norm-backward", _13, "the two means are taken of dy instead of dy times gamma"),
    ("layer-norm-backward", _14, "the term of the variance is divided by D - 1, as if the variance were the unbiased one"),
    ("rms-norm-backward", _15, "rrms cubed, which belongs to the formula in x, is used together with xhat"),
    ("dropout-backward", _16, "it divides by the share of entries that happened to be kept instead of 1 - p"),
    ("embedding-backward", _17, "ids that repeat within one sequence are counted once, since += with an index array does not accumulate"),
    ("residual-backward", _18, "the gradient of the residual path is added to that of the branch also for dw"),
    ("attention-backward", _19, "the softmax's backward multiplies by the weights after dropout instead of those before"),
    ("attention-backward", _20, "the scale was put into q, and dq is not scaled on the way back"),
    ("scores-gradient", _21, "the gradient of the loss on the scores is added after the division by the root of K, so it is not scaled"),
    ("scores-gradient", _22, "dk lacks the way through the loss on the scores; only dq has both"),
    ("multi-head-backward", _23, "the scores' gradient is not transposed for dk, which the shapes do not show since T = S"),
    ("multi-head-backward", _24, "the gradient of the scores is set to zero for padded queries too, which were not masked in the forward"),
    ("learned-positions-backward", _25, "each sequence overwrites the rows of the table instead of adding to them"),
    ("relative-bias-backward", _26, "the axes (H, T, S) are brought to (T, S, H) by a reshape instead of a transpose"),
    ("rotary-backward", _27, "the sine changes its sign in one of the two lines only"),
    ("feed-forward-backward", _28, "the slope of the GELU is taken at its output a instead of its input h"),
    ("feed-forward-backward", _29, "the slope is that of the tanh approximation of the GELU, while the forward is exact"),
    ("post-ln-backward", _30, "the residual path gets dy instead of the gradient behind the norm"),
    ("pre-ln-backward", _31, "dgamma is computed from dy instead of the gradient of n"),
    ("pooler-backward", _32, "the derivative of the tanh takes z where the output of the tanh belongs"),
    ("tied-head-backward", _33, "the gradient of the states is added to the rows of the ids as well, though it went through the encoder already"),
    ("gradient-accumulation", _34, "rows without a label still send their probabilities back"),
    ("soft-targets", _35, "the gradient takes the student's probabilities without the temperature"),
    ("kl-backward", _36, "the mean is taken over the classes too"),
    ("attention-loss", _37, "the pairs are counted as the square of all kept tokens, not sequence by sequence"),
    ("hidden-loss", _38, "the mask is forgotten in the gradient of the projection"),
    ("pkd-loss", _39, "the derivative of the normalisation projects along the teacher's direction instead of the student's"),
    ("distilbert-cosine", _40, "in the gradient the cosine multiplies the student's vector instead of its unit vector"),
    ("minilm-relations", _41, "the two uses of v are taken as twice the first, as if the gradient of the relation were symmetric"),
    ("tinybert-step", _42, "the projections are moved first, and the gradients of the hidden states use the new ones"),
    ("adamw", _43, "the decay comes after the step and acts on the moved parameter"),
    ("online-softmax", _44, "the running maximum begins at 0 instead of minus infinity, so very negative scores underflow to 0/0"),
]
