"""Translation: train an encoder-decoder on pairs of texts, run it, measure it, distil it."""
