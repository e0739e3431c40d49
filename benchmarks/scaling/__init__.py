"""How npformer's cost grows with the length, the batch, the width and the depth."""
