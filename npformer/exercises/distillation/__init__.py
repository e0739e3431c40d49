"""Chapter 6, distillation: what a student learns from a teacher, and how that is counted."""
