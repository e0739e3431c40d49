"""Chapter 2, attention: masks, heads, caches, and their gradients."""
