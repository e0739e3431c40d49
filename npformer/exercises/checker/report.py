"""What the checker found out, as text, as a table and as JSON."""

import html
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

from npformer.exercises.text import COLON, Text, language, width
from npformer.exercises.translation import message

PASS, FAIL = message("pass"), message("FAIL")
SOLVED = message("solved")
OPEN = message("not solved")
WRONG = message("What is wrong")


class Result(NamedTuple):
    """One property of a learner's function."""

    name: Text  # "dx", "padding mask", "inputs untouched"
    passed: bool
    error: float | None = None  # the largest, relative to the array; None: not a number's matter
    message: Text | None = None  # a sentence, if it failed


@dataclass(frozen=True)
class Report:
    """All that is known of a learner's function.

    Parameters
    ----------
    exercise : str
        Its id.
    title : Text
    results : list of Result
    diagnoses : list of Text
        What the mistake is, the surest first; empty if there is none.
    names : list of str
        Of the mistakes that the diagnoses are of; generic ones have none.
    """

    exercise: str
    title: Text
    results: list[Result]
    diagnoses: list[Text]
    names: list[str]

    @property
    def passed(self) -> bool:
        """Whether everything is right."""
        return all(result.passed for result in self.results)

    def text(self, lang: str | None = None) -> str:
        """Return it as lines: a property each, and what is wrong."""
        lang = language(lang)
        verdict = (SOLVED if self.passed else OPEN).to(lang)
        colon = COLON.to(lang)
        lines = [colon.join((self.exercise, self.title.to(lang), verdict))]
        columns = max((width(r.name.to(lang)) for r in self.results), default=0)
        said = None
        for result in self.results:
            name = result.name.to(lang)
            padded = name + " " * (columns - width(name))
            mark = (PASS if result.passed else FAIL).to(lang)
            lines.append(f"  {mark}  {padded}  {_number(result.error)}".rstrip())
            if result.message is not None and result.message != said:
                lines.append(f"        {result.message.to(lang)}")
                said = result.message
        if self.diagnoses:
            lines += ["", f"{WRONG.to(lang)}{colon.rstrip()}"]
            lines += [f"  {diagnosis.to(lang)}" for diagnosis in self.diagnoses]
        return "\n".join(lines)

    def html(self, lang: str | None = None) -> str:
        """Return it as an HTML table, for a notebook."""
        lang = language(lang)
        rows = []
        for result in self.results:
            mark, color = (PASS, "green") if result.passed else (FAIL, "crimson")
            message = result.message.to(lang) if result.message else ""
            cells = (
                f'<td style="color:{color}"><b>{mark.to(lang)}</b></td>',
                f'<td style="text-align:left">{html.escape(result.name.to(lang))}</td>',
                f"<td>{_number(result.error)}</td>",
                f'<td style="text-align:left">{html.escape(message)}</td>',
            )
            rows.append(f"<tr>{''.join(cells)}</tr>")
        verdict = (SOLVED if self.passed else OPEN).to(lang)
        head = html.escape(COLON.to(lang).join((self.exercise, self.title.to(lang), verdict)))
        said = "".join(f"<li>{html.escape(d.to(lang))}</li>" for d in self.diagnoses)
        wrong = f"<p><b>{WRONG.to(lang)}</b></p><ul>{said}</ul>" if said else ""
        return f"<p><b>{head}</b></p><table>{''.join(rows)}</table>{wrong}"

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return asdict(self) | {"results": [result._asdict() for result in self.results]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Undo `to_json`."""
        results = [
            Result(
                Text(*row["name"]),
                row["passed"],
                row["error"],
                None if row["message"] is None else Text(*row["message"]),
            )
            for row in data["results"]
        ]
        diagnoses = [Text(*said) for said in data["diagnoses"]]
        return cls(data["exercise"], Text(*data["title"]), results, diagnoses, data["names"])

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.html()


def _number(error: float | None) -> str:
    return "" if error is None else f"{error:.1e}"
