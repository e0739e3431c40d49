"""Ablations: what is each piece of TinyBERT worth? The paper's tables 2 to 4, measured.

`rows` says what a row of a table leaves out, `runs` does one run from plain data, `grid` does all
of them on any executor, `verdict` compares our order with the paper's, `report` and `figure` show
it.
"""
