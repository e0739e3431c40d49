"""`import npformer` loads NumPy and nothing heavier."""

import subprocess
import sys

HEAVY = (
    "matplotlib",
    "tokenizers",
    "safetensors",
    "tqdm",
    "threadpoolctl",
    "torch",
    "transformers",
)


def modules_after(statement: str) -> set[str]:
    """Return the names in ``sys.modules`` after a statement in a fresh interpreter."""
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_import_leaves_heavy_packages_alone() -> None:
    loaded = modules_after("import npformer")
    assert {"npformer", "npformer.ops", "npformer.models"} <= loaded
    assert not loaded.intersection(HEAVY)


def test_the_probe_sees_a_heavy_package() -> None:
    assert "tqdm" in modules_after("import npformer, tqdm")
