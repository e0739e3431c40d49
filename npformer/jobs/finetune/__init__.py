"""Pretrained checkpoints put to use: a classifier or a masked-LM head, trained on them."""
