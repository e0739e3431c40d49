"""Exercises: one definition each, a checker that names the mistake, and their fronts."""
