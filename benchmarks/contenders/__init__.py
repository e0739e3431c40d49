"""The contenders, a module each; all speak the same language.

``make(case)`` sets the case up and returns its step; ``about()`` says which library that is.
Imports stand at the top, so that what is measured as memory begins after them.
"""
