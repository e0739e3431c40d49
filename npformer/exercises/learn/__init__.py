"""The terminal's front: a folder with a file for each exercise, checked by ``npformer learn``.

* `task`, what there is to write, and `folder`, `state`, where it is written;
* `load`, `run` and `worker`, a check that no file can hang or bring down;
* `session`, `commands`, `checking` and `table`, what the commands print;
* `pytest_front`, the same folder under pytest.
"""
