"""Chapter 5, optimization: from gradients to better parameters, and how to trust gradients."""
