"""Weight files: every type that is read, shards, and files that are not what they say."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from models.small import make
from models.test_huggingface import refused
from safetensors.numpy import load_file, save_file

from npformer.checks import InputError
from npformer.models import from_pretrained, save_pretrained
from npformer.models.huggingface.arrays import read_array, read_header

NAME = "encoder.layer.1.output.dense.weight"


def pack(header, data=b""):
    """A safetensors file of this header, whatever it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(kind, shape, start, stop):
    return {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}


@pytest.fixture
def folder(tmp_path):
    save_pretrained(make("encoder", dtype=np.float32), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def file(folder):
    return folder / "model.safetensors"


# What is read


def test_half_precision(folder, file):
    """float16 by NumPy; bfloat16 as the upper half of a float32."""
    rng = np.random.default_rng(0)
    values, data, header = {}, b"", {}
    for i, (name, a) in enumerate(sorted(load_file(file).items())):
        x = rng.standard_normal(a.shape).astype(np.float32)
        if i % 2:
            stored = x.astype(np.float16)
            values[name] = stored.astype(np.float32)
        else:
            stored = (x.view(np.uint32) >> 16).astype(np.uint16)
            values[name] = (x.view(np.uint32) & 0xFFFF0000).view(np.float32)
        kind = "F16" if i % 2 else "BF16"
        header[name] = entry(kind, list(a.shape), len(data), len(data) + stored.nbytes)
        data += stored.tobytes()
    file.write_bytes(pack(header, data))
    for dtype in (np.float32, np.float64):
        model = from_pretrained(folder, dtype=dtype)
        w_2 = model.params["layers.1.feedforward.w_2"]
        np.testing.assert_array_equal(w_2, values[NAME].T)
        np.testing.assert_array_equal(
            model.params["embeddings.segment"], values["embeddings.token_type_embeddings.weight"]
        )
        assert w_2.dtype == dtype


def test_one_is_one_in_bfloat16(tmp_path):
    bits = struct.pack("<4H", 0x3F80, 0xBFC0, 0x7F80, 0x0001)
    (tmp_path / "a").write_bytes(pack({"x": entry("BF16", [2, 2], 0, 8)}, bits))
    x = read_array(read_header(tmp_path / "a")["x"])
    np.testing.assert_array_equal(x, [[1, -1.5], [np.inf, 2.0**-133]])
    assert x.dtype == np.float32


def test_the_same_as_the_formats_own_library(tmp_path):
    rng = np.random.default_rng(1)
    arrays = {
        "a": rng.standard_normal((3, 0, 2)),
        "b": rng.standard_normal(()),
        "ç": rng.standard_normal((5, 2)).astype(np.float32),
        "d": rng.standard_normal(7).astype(np.float16),
        "ids": np.arange(6)[None],
    }
    save_file(arrays, tmp_path / "a", metadata={"format": "pt"})
    header = read_header(tmp_path / "a")
    assert {name: a.shape for name, a in header.items()} == {n: a.shape for n, a in arrays.items()}
    for name in ("a", "b", "ç", "d"):
        x = read_array(header[name])
        np.testing.assert_array_equal(x, arrays[name])
        assert x.dtype == arrays[name].dtype
    with pytest.raises(InputError, match="got I64 in ids, expected one of F16, BF16, F32, F64"):
        read_array(header["ids"])


def shard(folder, file):
    """Cut the one file in two, with an index."""
    arrays = load_file(file)
    names = sorted(arrays)
    files = {name: f"model-0000{1 + (i > 20)}-of-00002.safetensors" for i, name in enumerate(names)}
    for part in sorted(set(files.values())):
        save_file({n: arrays[n] for n in names if files[n] == part}, folder / part)
    file.unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}))
    return index


def test_shards(folder, file):
    whole = from_pretrained(folder)
    index = shard(folder, file)
    again = from_pretrained(folder)
    for name, p in whole.params.items():
        np.testing.assert_array_equal(again.params[name], p, err_msg=name)
    files = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": files | {"x": sorted(files.values())[0]}}))
    refused(folder, "00001-of-00002", "only the index has x")
    index.write_text(json.dumps({"weight_map": {n: f for n, f in files.items() if n != NAME}}))
    refused(folder, f"the index does not have {NAME}")
    index.write_text(json.dumps({"weight_map": files | {"x": "../model/config.json"}}))
    refused(folder, "got '../model/config.json', expected the name of a file beside it")
    for broken in ({}, [], {"weight_map": 3}, {"weight_map": {"x": 3}}):
        index.write_text(json.dumps(broken))
        refused(folder, "model.safetensors.index.json: got")
    index.write_text(json.dumps({"weight_map": files}))
    index.unlink()
    refused(
        folder,
        "got the shards model-00001-of-00002.safetensors, model-00002-of-00002.safetensors without "
        "model.safetensors.index.json, expected it beside them",
    )
    index.write_text(json.dumps({"weight_map": files}))
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(folder, "model-00002-of-00002.safetensors: got no such file, expected a shard that")


# What is refused


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pkl", ".h5"])
def test_pickles(folder, file, suffix):
    other = file.rename(folder / f"pytorch_model{suffix}")
    refused(
        folder,
        f"pytorch_model{suffix}: got {suffix} weights, expected model.safetensors",
        f"t.BertModel.from_pretrained('{folder}').save_pretrained('DIR', safe_serialization=True)",
    )
    refused(other, f"got {suffix} weights", "save_pretrained")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.example/spec/v1\noid sha256:0\n", "got a Git LFS pointer"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><html></html>", "got an HTML page, expected the file"),
        (b"<HTML lang='en'>", "got an HTML page"),
        (b"PK\x03\x04" + bytes(500), "got a pickled file, expected safetensors"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P", "got a pickled file"),
        (b"", "got 0 bytes that begin with a header of 0"),
        (b"\xff" * 500, "got 500 bytes that begin with a header of 18446744073709551615"),
    ],
)
def test_impostors(folder, file, content, message):
    file.write_bytes(content)
    refused(folder, f"model.safetensors: {message}")
    if message.startswith(("got a Git", "got an HTML")):
        (folder / "config.json").write_bytes(content)
        refused(folder, f"config.json: {message}")


def test_a_header_of_640_bytes_is_no_pickle(tmp_path):
    """Its first bytes are those of one."""
    text = json.dumps({"x": entry("F32", [2], 0, 8)}).encode().ljust(640)
    (tmp_path / "a").write_bytes(pack(text, bytes(8)))
    assert (tmp_path / "a").read_bytes().startswith(b"\x80\x02")
    np.testing.assert_array_equal(read_array(read_header(tmp_path / "a")["x"]), [0, 0])


HOSTILE = {
    "a header longer than the file": (struct.pack("<Q", 2**40) + b"{}", "a header of 1099511627"),
    "no JSON": (pack(b"{'x'"), "got a broken header"),
    "not UTF-8": (pack(b"\xff\xfe{}"), "got a broken header"),
    "deep": (pack(b"[" * 200_000), "got a broken header"),
    "a list": (pack(b"[1]"), "got a header without names"),
    "a name twice": (
        pack(b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "x": 1}', bytes(4)),
        "got a broken header (x twice)",
    ),
    "no shape": (
        pack({"x": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)),
        "got {'data_offsets'",
    ),
    "a shape of text": (pack({"x": entry("F32", "2", 0, 4)}, bytes(4)), "expected dtype, shape"),
    "a negative size": (pack({"x": entry("F32", [-1, -1], 0, 4)}, bytes(4)), "got {'data_offsets'"),
    "a true size": (pack({"x": entry("F32", [True], 0, 4)}, bytes(4)), "got {'data_offsets'"),
    "three offsets": (
        pack({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(4)),
        "expected dtype, shape, data_offsets",
    ),
    "an entry of text": (pack({"x": "y"}), "got 'y' for x, expected dtype"),
    "an unknown type": (pack({"x": entry("F7", [1], 0, 4)}, bytes(4)), "got dtype 'F7' in x"),
    "a type of lists": (pack({"x": entry(["F32"], [1], 0, 4)}, bytes(4)), "got dtype ['F32']"),
    "another type's size": (
        pack({"x": entry("F64", [1], 0, 4)}, bytes(4)),
        "got 4 bytes for x, expected those of shape (1) in F64",
    ),
    "an absurd shape": (
        pack({"x": entry("F32", [10**9, 10**9, 10**9], 0, 4)}, bytes(4)),
        "got 4 bytes for x, expected those of shape (1000000000, 1000000000, 1000000000) in F32",
    ),
    "an absurd shape and size": (
        pack({"x": entry("F32", [2**60], 0, 2**62)}, bytes(4)),
        "expected 46116860184273",
    ),
    "offsets in reverse": (pack({"x": entry("F32", [1], 4, 0)}, bytes(4)), "got -4 bytes for x"),
    "out of range": (pack({"x": entry("F32", [1], 2**50, 2**50 + 4)}, bytes(4)), "got a gap"),
    "overlapping": (
        pack({"x": entry("F32", [2], 0, 8), "y": entry("F32", [2], 4, 12)}, bytes(12)),
        "got overlap before y, expected one array after another",
    ),
    "a gap": (
        pack({"x": entry("F32", [1], 0, 4), "y": entry("F32", [1], 8, 12)}, bytes(12)),
        "got a gap before y",
    ),
    "bytes of no array": (pack({"x": entry("F32", [1], 0, 4)}, bytes(5)), "bytes, expected"),
    "bytes missing": (pack({"x": entry("F32", [1], 0, 4)}, bytes(3)), "cut short?"),
    "nothing and an absurd shape": (
        pack({"embeddings.LayerNorm.weight": entry("F32", [0, 2**59], 0, 0)}),
        "missing embeddings.word_embeddings.weight",
    ),
    "nothing in a shape that no array has": (
        pack({"x": entry("F32", [0, 2**62], 0, 0)}),
        "got shape (0, 4611686018427387904) of x, expected one that an array can have",
    ),
    "a size that no file has": (
        pack({"x": entry("F32", [0, 2**63], 0, 0)}),
        "for x, expected dtype, shape, data_offsets",
    ),
    "offsets of 4,300 digits": (
        pack({"x": entry("F32", [10**4299], 0, 4 * 10**4299)}),
        "for x, expected dtype, shape, data_offsets",
    ),
    "a start of 4,300 digits": (
        pack({"x": entry("F32", [0], 10**4299, 10**4299)}),
        "for x, expected dtype, shape, data_offsets",
    ),
    "a shape of 200 sizes of 1,000 digits": (
        pack({"x": entry("F32", [10**999] * 200, 0, 4)}, bytes(4)),
        "for x, expected dtype, shape, data_offsets",
    ),
    "more axes than an array has": (
        pack({"x": entry("F32", [1] * 33, 0, 4)}, bytes(4)),
        "for x, expected dtype, shape, data_offsets",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(folder, file, name):
    content, message = HOSTILE[name]
    file.write_bytes(content)
    tracemalloc.start()
    try:
        refused(folder, "model", message)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_huge_header_of_a_huge_file_is_not_read(folder, file):
    with file.open("wb") as sparse:
        sparse.write(struct.pack("<Q", 2**27))
        sparse.truncate(2**28)
    tracemalloc.start()
    try:
        refused(folder, "got 268435456 bytes that begin with a header of 134217728")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_huge_arrays_of_another_shape_are_not_read(folder, file):
    name = "embeddings.word_embeddings.weight"
    start = pack({name: entry("F32", [2**16, 2**10], 0, 2**28)})
    with file.open("wb") as sparse:
        sparse.write(start)
        sparse.truncate(len(start) + 2**28)
    tracemalloc.start()
    try:
        refused(folder, f"mis-shaped {name} (65536, 1024) instead of (29, 12)")
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_cut_anywhere(tmp_path):
    save_file({"x": np.ones((2, 3)), "y": np.ones(2, np.float32)}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for n in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:n])
        with pytest.raises(InputError, match="cut: got"):
            read_header(tmp_path / "cut")


def test_any_byte_of_the_header_changed(tmp_path):
    """It is read or refused; nothing else is raised."""
    whole = pack({"x": entry("F32", [2], 0, 8), "y": entry("BF16", [1, 3], 8, 14)}, bytes(14))
    rng = np.random.default_rng(2)
    refusals = 0
    for at in range(len(whole) - 14):
        for byte in (*b'09{}[]",:- ', *rng.integers(0, 256, 5)):
            (tmp_path / "a").write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
            try:
                for array in read_header(tmp_path / "a").values():
                    read_array(array)
            except InputError:
                refusals += 1
    assert refusals > 1000
