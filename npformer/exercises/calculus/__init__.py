"""Chapter 1, calculus: the maps a Transformer is made of, and their gradients."""
