"""Folders that commit 02b1e86 wrote, one per family and our own: read as they were, written alike.

`folders_of_02b1e86.json` has their two files and what the configuration was. An array holds
0, 1, 2, ..., to which 100 times its place among the sorted names is added.
"""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from npformer.layers.shapes import sizes
from npformer.models import from_pretrained, save_pretrained
from npformer.models.seq2seq_folder import MODEL_TYPE, load_seq2seq, write_seq2seq

FOLDERS = json.loads(Path(__file__).with_name("folders_of_02b1e86.json").read_text())


@pytest.mark.parametrize("name", FOLDERS)
def test_read_and_written_as_they_were(name, tmp_path):
    frozen, old, new = FOLDERS[name], tmp_path / "old", tmp_path / "new"
    arrays = zlib.decompress(base64.b85decode(frozen["arrays"]))
    old.mkdir()
    (old / "config.json").write_text(json.dumps(frozen["config"]))
    (old / "model.safetensors").write_bytes(arrays)
    if name == MODEL_TYPE:
        model = load_seq2seq(old)
        new.mkdir()
        write_seq2seq(model, new)
    else:
        model = from_pretrained(old)
        save_pretrained(model, new)
    config = model.config.to_dict()
    assert {field: config[field] for field in frozen["ours"]} == frozen["ours"]
    shapes = {name: sizes(axes) for name, axes in type(model).shapes(model.config).items()}
    assert model.params.keys() == shapes.keys()
    for i, key in enumerate(sorted(shapes)):
        expected = 100 * i + np.arange(np.prod(shapes[key]), dtype=np.float32).reshape(shapes[key])
        np.testing.assert_array_equal(model.params[key], expected, err_msg=key)
        assert model.params[key].dtype == np.float32
    again, before = load((new / "model.safetensors").read_bytes()), load(arrays)
    assert again.keys() == before.keys()
    for key, a in before.items():
        np.testing.assert_array_equal(again[key], a, err_msg=key)
    fields = json.loads((new / "config.json").read_text())
    assert {field: fields[field] for field in frozen["config"]} == frozen["config"]
