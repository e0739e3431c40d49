"""Folders of models that generate: how one kind of them speaks, reading one, writing one.

The arrays of such a model are named part by part, so a family has a function from our names to
those in the file where an encoder's family has a table.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from npformer.checks import InputError, shown, some
from npformer.layers.attention_config import AttentionConfig
from npformer.models.causal_lm import CausalLM
from npformer.models.config import CausalLMConfig, Seq2SeqConfig
from npformer.models.huggingface.arrays import StoredArray, read_array
from npformer.models.huggingface.config import check_fields, read_value
from npformer.models.huggingface.family import Field
from npformer.models.huggingface.weights import ARRAYS_FILE, CONFIG_FILE, stored_arrays
from npformer.models.seq2seq import Seq2Seq
from npformer.types import Params

Generating = Seq2Seq | CausalLM


class Place(NamedTuple):
    """Where a parameter of ours lies in the file."""

    name: str
    transposed: bool = False  # stored (out, in)
    third: int | None = None  # which third of the columns of a fused array
    row: bool = False  # a vector, stored with an axis of 1 before it


@dataclass(frozen=True)
class GeneratorFamily:
    """How one kind of checkpoint speaks: see `npformer.models.huggingface.family.Family`."""

    model_type: str
    architecture: str
    kind: type[Generating]
    fields: tuple[Field, ...]
    more: tuple[Field, ...]  # fields of theirs that are none of ours
    read: Callable[[Mapping[str, Any]], dict[str, Any]]  # what they say of ours, by their names
    write: Callable[[Any], dict[str, Any]]  # these fields, and those that several of ours decide
    fixed: Mapping[str, Any]
    neutral: frozenset[str]
    constants: Mapping[str, Any]  # fields of ours that have one value there
    place: Callable[[str, Any], Place]
    copies: Mapping[str, str] = field(default_factory=dict)  # of tied arrays, in some files
    unused: Callable[[str], bool] = lambda name: False


def read_generator(
    folder: Path, fields: Mapping[str, Any], family: GeneratorFamily, dtype: DTypeLike
) -> Generating:
    """Read a folder whose config.json has these fields.

    Raises
    ------
    InputError
        If an array is missing, unknown, of another shape or not finite, or a field is refused.
    """
    try:
        config = _read_config(fields, family)
    except InputError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error}") from None
    stored = stored_arrays(folder, family.architecture)
    shapes = parameter_shapes(family.kind, config)
    places = {name: family.place(name, config) for name in shapes}
    _check_arrays(folder, family, shapes, places, stored)
    params: Params = {}
    for name, place in places.items():
        a = read_array(stored[place.name])
        if place.third is not None:
            a = np.split(a, 3, axis=-1)[place.third]
        a = a.T if place.transposed else a.reshape(shapes[name])
        params[name] = a.astype(dtype, order="C")
        if not np.isfinite(params[name]).all():
            raise InputError(f"{folder}: got NaN or infinity in {place.name}, expected finite")
    model: Generating = family.kind(config, params)
    return model


def write_generator(model: Generating, folder: Path, family: GeneratorFamily) -> None:
    """Write the two files into a folder that exists.

    Raises
    ------
    InputError
        If the model has something that such a folder has no word for.
    """
    from safetensors.numpy import save

    values: dict[str, Any] = {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        **family.fixed,
        **{f.theirs: f.kind(getattr(model.config, f.ours)) for f in family.fields},
        **family.write(model.config),
    }
    back = _read_config(values, family)
    for name, value in model.config.to_dict().items():
        if value != getattr(back, name):
            raise InputError(
                f"{name}: got {value!r}, expected {getattr(back, name)!r}, because the "
                f"config.json of {family.model_type} has no word for it"
            )
    dtype = next(iter(model.params.values())).dtype
    arrays: Params = {}
    for name, a in model.params.items():
        place = family.place(name, model.config)
        a = a.T if place.transposed else a[None] if place.row else a
        if place.third is not None:
            whole = arrays.setdefault(place.name, np.empty((*a.shape[:-1], 3 * a.shape[-1]), dtype))
            np.split(whole, 3, axis=-1)[place.third][...] = a
        else:
            arrays[place.name] = np.ascontiguousarray(a)
    values["dtype"] = str(dtype)
    (folder / ARRAYS_FILE).write_bytes(save(arrays, metadata={"format": "pt"}))
    (folder / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def parameter_shapes(
    kind: type[Generating], config: Seq2SeqConfig | CausalLMConfig
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every parameter, without making any of that size or all of that many.

    They are called as in the smallest model of this kind, one layer of which stands for all.
    """
    smallest: dict[str, Any] = {"vocab_size": 1, "d_ff": 1, "max_len": 1}
    smallest |= {"d_model": 2, "num_heads": 1}
    # The defaults: a table of few rows.
    smallest |= {name: getattr(AttentionConfig, name) for name in ("num_buckets", "max_distance")}
    if isinstance(config, Seq2SeqConfig):
        smallest |= {"target_vocab_size": 1, "num_encoder_layers": 1, "num_decoder_layers": 1}
        depths = {"encoder.": config.num_encoder_layers, "decoder.": config.num_decoder_layers}
    else:
        smallest["num_layers"] = 1
        depths = {"": config.num_layers}
    make: Any = kind
    small = make.init(replace(config, **smallest), np.random.default_rng(0))
    d, f, v = config.d_model, config.d_ff, config.vocab_size
    shapes = {
        "token": (v, d),
        "position": (config.max_len, d),
        "relative_bias": (config.num_buckets, config.num_heads),
        "output.b": (v,),
        **{"w_1": (d, f), "b_1": (f,), "w_2": (f, d), "w_3": (d, f), "b_3": (f,)},
        **dict.fromkeys(("w_q", "w_k", "w_v", "w_o"), (d, d)),
    }

    def shape(name: str) -> tuple[int, ...]:
        return shapes.get(name) or shapes.get(name.rsplit(".", 1)[-1]) or (d,)

    def every(name: str) -> list[str]:
        side, in_layer, rest = name.partition("layers.0.")
        return [f"{side}layers.{i}.{rest}" for i in range(depths[side])] if in_layer else [name]

    return {name: shape(first) for first in small.params for name in every(first)}


def _read_config(fields: Mapping[str, Any], family: GeneratorFamily) -> Any:
    known = (*family.fields, *family.more)
    names = fields.get("architectures")
    if names is not None and names != [family.architecture]:
        raise InputError(f"architectures: got {shown(names)}, expected [{family.architecture!r}]")
    read = {"architectures", "model_type", *(f.theirs for f in known)}
    check_fields(fields, read, family.fixed, family.neutral)
    theirs = {f.theirs: read_value(fields, f) for f in known}
    values = {f.ours: theirs[f.theirs] for f in family.fields}
    config: Any = CausalLMConfig if family.kind is CausalLM else Seq2SeqConfig
    return config.from_dict({**family.constants, **values, **family.read(theirs)})


def _check_arrays(
    folder: Path,
    family: GeneratorFamily,
    shapes: Mapping[str, tuple[int, ...]],
    places: Mapping[str, Place],
    stored: Mapping[str, StoredArray],
) -> None:
    expected: dict[str, tuple[int, ...]] = {}
    for name, place in places.items():
        shape = shapes[name][::-1] if place.transposed else shapes[name]
        if place.third is not None:
            shape = *shape[:-1], 3 * shape[-1]
        expected[place.name] = (1, *shape) if place.row else shape
    wrong = [
        f"{name} {stored[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != shape
    ]
    problems = {
        "missing": [name for name in expected if name not in stored],
        "unexpected": [
            name
            for name in stored
            if name not in expected and name not in family.copies and not family.unused(name)
        ],
        "mis-shaped": wrong,
    }
    report = "; ".join(f"{what} {some(n)}" for what, n in problems.items() if n)
    if report:
        raise InputError(f"{folder}: got arrays that do not fit {CONFIG_FILE}: {report}")
    for copy, tied in family.copies.items():
        if copy in stored and not np.array_equal(
            read_array(stored[copy]), read_array(stored[tied])
        ):
            raise InputError(f"{folder}: got {copy}, expected it to be equal to {tied}")
