"""Text to batches: the embedded task, folders, tokenization, masking, augmentation."""
