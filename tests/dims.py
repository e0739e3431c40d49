"""A size for each letter of the notation, no two alike: a swapped pair of axes cannot go unseen."""

from npformer.selfcheck import SIZES

B, H, T, S, K = (SIZES[letter] for letter in "BHTSK")
I, O, C, V, F, D, R = (SIZES[letter] for letter in "IOCVFDR")  # noqa: E741
