"""TinyBERT's pipeline: teacher, student, baselines, comparison."""
