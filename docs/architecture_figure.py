"""Draw figures/architecture.svg: `python -m docs.architecture_figure`, after a change of floors."""

import html
import tomllib
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "figures" / "architecture.svg"

# The floors themselves stand in pyproject.toml, where import-linter reads them.
ROOMS = {
    "cli": "one thin file per command",
    "exercises": "statements, checker, museum, quiz",
    "selfcheck": "what gradcheck and the tests check",
    "jobs": "what is run: distill, finetune, translate, ablate",
    "distill": "mapping, terms, recipes",
    "train": "loop, shards, checkpoints",
    "models": "encoder, heads, generation, huggingface/",
    "layers": "parameters and composition; relative/",
    "ops": "pure pairs: forward, backward",
    "optim": "Adam",
    "data": "text, batches",
    "gradcheck": "referee",
    "plot": "figures",
    "checks": "one sentence for bad input",
    "types": "names of array types",
}
PARTS = {"ops": "I", "layers": "II", "models": "III", "train": "IV", "distill": "V", "jobs": "VI"}
PARTS |= {"exercises": "VII", "cli": "VIII"}
NEW = {  # number -> what is new, the floors it touches
    1: ("position scheme", ("ops", "layers")),
    2: ("loss", ("ops", "distill")),
    3: ("exercise", ("exercises",)),
    4: ("checkpoint family", ("models",)),
}
FORWARD, BACKWARD, PLACE, INK, PALE = "#0072B2", "#D55E00", "#009E73", "#222222", "#666666"
HEIGHT, STEP = 36, 44  # of a floor, and from one floor to the next


def floors() -> list[list[str]]:
    """Return the rooms of every floor, the uppermost first, as import-linter has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return [layer.split(" | ") for layer in contract["layers"]]


def box(x: float, y: float, w: float, h: float, fill: str = "#ffffff") -> str:
    return f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="4" fill="{fill}" stroke="#999999"/>'


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x}" y="{y}" {style}>{html.escape(words)}</text>'


def arrow(colour: str, *points: tuple[float, float]) -> str:
    name = "forward" if colour == FORWARD else "backward" if colour == BACKWARD else "import"
    path = " ".join(f"{x},{y}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" '
        f'marker-end="url(#{name})"/>'
    )


def place(x: float, y: float, number: int) -> str:
    """Draw a number where something new goes."""
    middle = 'text-anchor="middle" fill="#ffffff" font-weight="bold"'
    return f'<circle cx="{x}" cy="{y}" r="9" fill="{PLACE}"/>' + text(x, y + 4, str(number), middle)


def house() -> list[str]:
    """Draw the floors: what may import what, and where new things go."""
    small, bold = f'font-size="11" fill="{PALE}"', 'font-weight="bold"'
    drawn = [text(60, 34, "A file imports only from floors below its own", bold)]
    for i, rooms in enumerate(floors()):
        y = 50 + i * STEP
        width = (440 - 6 * (len(rooms) - 1)) / len(rooms)
        for j, room in enumerate(rooms):
            x = 60 + j * (width + 6)
            drawn.append(box(x, y, width, HEIGHT, "#f3f6fa" if room in PARTS else "#ffffff"))
            drawn.append(text(x + 8, y + 15, room, bold))
            drawn.append(text(x + 8, y + 29, ROOMS[room], small))
            if room in PARTS:
                drawn.append(text(52, y + 22, PARTS[room], 'text-anchor="end"'))
            numbers = [n for n, (_, touched) in NEW.items() if room in touched]
            drawn += [
                place(x + width - 14 - 22 * k, y + 18, n) for k, n in enumerate(reversed(numbers))
            ]
    end = 50 + len(floors()) * STEP
    drawn.append(arrow(PALE, (18, 54), (18, end - 12)))
    for number, (what, _) in NEW.items():
        x, y = 70 + 220 * ((number - 1) % 2), end + 16 + 24 * ((number - 1) // 2)
        drawn += [place(x, y, number), text(x + 15, y + 4, f"a new {what}")]
    return drawn


def stack() -> list[str]:
    """Draw a batch on its way up, and its gradient on the way down."""
    bold, middle = 'font-weight="bold"', 'text-anchor="middle"'
    drawn = [text(560, 34, "The way of a batch, and of its gradient", bold)]
    names = ["head", "block L", "block 1", "embeddings", "ids, keep"]
    given = ["logits (B, C)", "hidden[L], scores", "hidden[1], scores", "hidden[0] (B, T, D)", ""]
    tops = [90, 190, 310, 410, 500]
    for name, top, output in zip(names, tops, given, strict=True):
        drawn += [box(560, top, 130, 40), text(625, top + 25, name, f"{bold} {middle}")]
        if output:
            drawn += [
                arrow(FORWARD, (690, top + 13), (838, top + 13)),
                arrow(BACKWARD, (842, top + 29), (694, top + 29)),
                text(766, top + 8, output, f'{middle} font-size="11"'),
            ]
    drawn.append(text(625, 274, "...", f"{bold} {middle}"))
    for upper, lower in pairwise(tops):
        drawn.append(arrow(FORWARD, (605, lower), (605, upper + 44)))
        if lower != tops[-1]:  # integers have no gradient
            drawn.append(arrow(BACKWARD, (645, upper + 40), (645, lower - 4)))
    drawn += [
        place(676, 210, 1),
        place(676, 330, 1),
        box(842, 80, 130, 380),
        text(907, 250, "losses", f"{bold} {middle}"),
        text(907, 268, "of labels, or", f'{middle} font-size="11"'),
        text(907, 283, "distill/terms", f'{middle} font-size="11"'),
        place(907, 225, 2),
        box(842, 500, 130, 40),
        text(907, 525, "teacher", f"{bold} {middle}"),
        arrow(FORWARD, (907, 500), (907, 464)),
        text(917, 486, "no gradient", 'font-size="11"'),
        *(
            arrow(BACKWARD, (560, top + 20), (530, top + 20), (530, 580), (556, 580))
            for top in tops[:-1]
        ),
        box(560, 560, 130, 40),
        text(625, 585, "optimizer", f"{bold} {middle}"),
        text(700, 577, "takes grads, by the names of params;", 'font-size="11"'),
        text(700, 592, "it alone writes in place", 'font-size="11"'),
    ]
    for colour, y, words in (
        (FORWARD, 640, "forward: outputs, and a cache for backward"),
        (BACKWARD, 664, "backward: a gradient per output in, one per input out"),
    ):
        drawn += [arrow(colour, (560, y), (600, y)), text(612, y + 4, words)]
    return drawn


def draw() -> str:
    """Return the drawing."""
    height = max(690, 50 + len(floors()) * STEP + 60)
    markers = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        f'markerHeight="6" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{colour}"/></marker>'
        for name, colour in (("forward", FORWARD), ("backward", BACKWARD), ("import", PALE))
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 {height}" '
        f'font-family="sans-serif" font-size="13" fill="{INK}">'
    )
    background = f'<rect width="1000" height="{height}" fill="#ffffff"/>'
    lines = [head, f"<defs>{markers}</defs>", background, *house(), *stack(), "</svg>"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FIGURE.write_text(draw(), encoding="utf-8")
    print(FIGURE.relative_to(ROOT))
