"""Forwards and backwards, right and wrong, for a gradient checker to judge.

Plain NumPy that calls nothing of the library.
"""

import numpy as np

from npformer.exercises.by_hand import softmax


def affine(x, w, b):
    return x @ w + b


def affine_backward(dy, x, w, b):
    return {"x": dy @ w.T, "w": x.T @ dy, "b": dy.sum(axis=0)}


def bias_averaged(dy, x, w, b):
    return {**affine_backward(dy, x, w, b), "b": dy.mean(axis=0)}


def first_sign_wrong(dy, x, w, b):
    return {**affine_backward(dy, x, w, b), "x": -dy @ w.T}


def one_entry_wrong(dy, x, w, b):
    dw = x.T @ dy
    dw[-1, -1] -= 0.3
    return {**affine_backward(dy, x, w, b), "w": dw}


def bias_with_an_axis_too_many(dy, x, w, b):
    return {**affine_backward(dy, x, w, b), "b": dy.sum(axis=0, keepdims=True)}


def bias_without_gradient(dy, x, w, b):
    return {"x": dy @ w.T, "w": x.T @ dy}


def weights_nan(dy, x, w, b):
    dw = x.T @ dy
    dw[0, -1] = np.nan
    return {**affine_backward(dy, x, w, b), "w": dw}


def softmax_backward(dy, x):
    p = softmax(x)
    return {"x": p * (dy - (dy * p).sum(axis=-1, keepdims=True))}


def softmax_diagonal(dy, x):
    return {"x": dy * softmax(x)}


def all_zero(dy, x):
    return {"x": np.zeros_like(x)}


def gated(x, gamma):
    return gamma * np.tanh(x) + x**3


def gated_backward(dy, x, gamma):
    t = np.tanh(x)
    return {"x": dy * (gamma * (1 - t * t) + 3 * x * x), "gamma": (dy * t).sum(axis=0)}


def gated_without_gamma(dy, x, gamma):
    t = np.tanh(x)
    return {"x": dy * (1 - t * t + 3 * x * x), "gamma": (dy * t).sum(axis=0)}


def gated_slightly_off(dy, x, gamma):
    grads = gated_backward(dy, x, gamma)
    return {**grads, "gamma": grads["gamma"] * 1.0003}


def lookup(ids, table):
    return table[ids]


def lookup_backward(dy, ids, table):
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dy)
    return {"table": dtable}


def lookup_losing_repeats(dy, ids, table):
    dtable = np.zeros_like(table)
    dtable[ids] = dy
    return {"table": dtable}
