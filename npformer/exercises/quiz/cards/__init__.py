"""The cards, a topic a file."""
