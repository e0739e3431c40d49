"""Random arrays for the cases of this chapter."""

import numpy as np


def qkv(rng, b, h, t, s, k):
    """Return q (B, H, T, K), k and v (B, H, S, K) by name."""
    return {
        "q": rng.normal(size=(b, h, t, k)),
        "k": rng.normal(size=(b, h, s, k)),
        "v": rng.normal(size=(b, h, s, k)),
    }


def padding(rng, b, s):
    """Return keep (B, S) with holes; each sequence keeps its first token and loses its last."""
    keep = rng.random((b, s)) < 0.6
    keep[:, 0], keep[:, -1] = True, False
    return keep


def projections(rng, d):
    """Return w_q, b_q, ..., w_o, b_o of a layer of width D, by name; no bias is zero."""
    params = {}
    for name in "qkvo":
        params[f"w_{name}"] = rng.normal(size=(d, d)) / np.sqrt(d)
        params[f"b_{name}"] = rng.normal(size=d)
    return params
