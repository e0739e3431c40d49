"""npformer."""
