# The commands of .ci/run, one by one, in an environment of your own:
# pip install -e '.[test,parity,docs,dev]'

export OPENBLAS_NUM_THREADS = 1
export OMP_NUM_THREADS = 1
export MPLBACKEND = Agg

.PHONY: check lint types layers docs tests parity notebooks

check: lint types layers docs tests

lint:
	ruff check .
	ruff format --check .

types:
	mypy

layers:
	lint-imports

docs:
	sphinx-build -q -n -W --keep-going -b html docs docs/_build

tests:
	python -m pytest -q -n 2 -m 'not slow'

parity:
	NPFORMER_REQUIRE_PARITY=1 python -m pytest -q -n 2 tests/parity

# Not a check: writes the lessons and the drawing anew, after a change of what they are made from.
notebooks:
	python -m notebooks
	python -m docs.architecture_figure
