"""Chapter 4, the encoder: what stands around attention, what stands on it, and what it reads."""
