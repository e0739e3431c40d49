"""Part VI, jobs: what a command does in a run's folder, from reading the data to the last figure.

`distill` is TinyBERT's pipeline, `finetune` trains a classifier or a masked-LM head, `translate` an
encoder-decoder, `ablate` a grid of distillations. What they are made of is read elsewhere.
"""
