"""What ``npformer cost`` prints: one model part by part, or two models and their ratios."""

from typing import Any

from npformer.models.cost import (
    Workload,
    count_multiply_adds,
    count_parameters,
    layer_flops,
    projection_parameters,
    published_speed_up,
)
from npformer.models.cost_memory import count_kept, count_memory

MIB = 2**20
Row = tuple[str, ...]
COLUMNS = ("parameters", "multiply_adds", "kept")
MEMORY = {
    "parameters": "parameters, as on disk",
    "gradients": "gradients",
    "optimizer": "Adam's state",
    "kept": "kept for backward",
    "recomputed": "kept with recompute=True",
    "training": "a training step, at least",
    "training_recomputed": "the same with recompute=True",
    "prediction": "prediction, beside parameters",
    "key_values": "KV cache, after these tokens",
}


def bill(name: str, work: Workload) -> dict[str, Any]:
    """Return what a model costs, ready for JSON; memory in bytes."""
    counts = (count_parameters(work), count_multiply_adds(work), count_kept(work))
    parts = {
        part: dict(zip(COLUMNS, (count[part] for count in counts), strict=True))
        for part in counts[0]
        if any(count[part] for count in counts)
    }
    memory = count_memory(work)
    return {
        "model": name,
        "kind": work.kind.__name__,
        "config": work.config.to_dict(),
        "batch_size": work.batch_size,
        "seq_len": work.seq_len,
        "source_len": work.source_len,
        "layers": {stack: depth for stack, (depth, _) in work.stacks.items()},
        "parts": parts,
        "total": {column: sum(part[column] for part in parts.values()) for column in COLUMNS},
        "layer_flops": layer_flops(work),
        "memory": {field: getattr(memory, field) for field in MEMORY},
    }


def bill_lines(report: dict[str, Any]) -> list[str]:
    """Return a bill as text."""
    total, memory = report["total"], report["memory"]
    rows: list[Row] = [("", "parameters", "share", "multiply-adds", "share", "kept MiB", "share")]
    for name, part in [*report["parts"].items(), ("total", total)]:
        cells = [name]
        for column in COLUMNS:
            cells.append(_mib(part[column]) if column == "kept" else f"{part[column]:,}")
            cells.append(f"{part[column] / total[column]:.1%}")
        rows.append(tuple(cells))
    sizes: list[Row] = [("memory, float32", "bytes", "MiB")]
    sizes += [
        (label, f"{memory[key]:,}", _mib(memory[key]))
        for key, label in MEMORY.items()
        if memory[key]
    ]
    return [
        _head(report),
        "",
        *_aligned(rows),
        "",
        f"{report['layer_flops'] / 1e9:.3f} GFLOP a forward: 2 for each multiply-add of the layers",
        "",
        *_aligned(sizes),
    ]


def comparison(name: str, work: Workload, against: str, other: Workload) -> dict[str, Any]:
    """Return both bills and the ratios, larger over smaller model."""
    first, second = bill(name, work), bill(against, other)
    projection = projection_parameters(work.config, other.config)
    parameters = first["total"]["parameters"], second["total"]["parameters"]
    return {
        "models": [first, second],
        "projection": projection,
        "times": {
            "parameters": parameters[1] / parameters[0],
            "parameters_with_projection": parameters[1] / (parameters[0] + projection),
            "layer_flops": second["layer_flops"] / first["layer_flops"],
            "kept": second["memory"]["kept"] / first["memory"]["kept"],
            "prediction": second["memory"]["prediction"] / first["memory"]["prediction"],
            "published_speed_up": published_speed_up(work.config, other.config),
        },
    }


def comparison_lines(report: dict[str, Any]) -> list[str]:
    """Return a comparison as text."""
    models = first, second = report["models"]
    rows: list[Row] = [("", first["model"], second["model"], "times")]

    def add(label: str, costs: list[Any], form: str = ",") -> None:
        times = f"{costs[1] / costs[0]:.2f}" if all(costs) else ""
        rows.append((f"  {label}", *(format(cost, form) for cost in costs), times))

    rows.append(("parameters", "", "", ""))
    groups = [_parameters_by_group(one) for one in models]
    for name in groups[0] | groups[1]:
        add(name, [group.get(name, 0) for group in groups])
    parameters = [one["total"]["parameters"] for one in models]
    add("all", parameters)
    add("with the projection, for training", [parameters[0] + report["projection"], parameters[1]])
    rows.append(("GFLOP a forward", "", "", ""))
    add("layers", [one["layer_flops"] / 1e9 for one in models], ".3f")
    rows.append(("memory, MiB", "", "", ""))
    for key, label in MEMORY.items():
        if any(one["memory"][key] for one in models):
            add(label, [one["memory"][key] / MIB for one in models], ",.1f")
    rows.append(("time", "", "", ""))
    speed_up = report["times"]["published_speed_up"]
    rows.append(("  published, on a K80 GPU", "", "", str(speed_up or "none")))
    return [_head(first), _head(second), "", *_aligned(rows)]


def _head(report: dict[str, Any]) -> str:
    config = report["config"]
    narrow = "" if not config.get("embedding_size") else f"tables {config['embedding_size']}, "
    heads = f"{config['num_heads']} heads"
    if config["num_kv_heads"]:
        heads += f" on {config['num_kv_heads']} of keys and values"
    source = "" if not report["source_len"] else f" from {report['source_len']}"
    return (
        f"{report['model']}: {report['kind']} of "
        f"{' + '.join(str(n) for n in report['layers'].values())} layers, width "
        f"{config['d_model']}, {narrow}{heads}, d_ff {config['d_ff']}, on "
        f"{report['batch_size']} x {report['seq_len']} tokens{source}"
    )


def _parameters_by_group(report: dict[str, Any]) -> dict[str, int]:
    groups: dict[str, int] = {}
    for name, part in report["parts"].items():
        group = name.partition(":")[0]
        groups[group] = groups.get(group, 0) + part["parameters"]
    return groups


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f}"


def _aligned(rows: list[Row]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
