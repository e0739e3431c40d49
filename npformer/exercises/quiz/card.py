"""What a card is: a question, its answer, the follow-up, and code that proves the answer.

A card is one function. Its docstring asks, answers and asks on, a paragraph each; its body proves
the answer::

    @card("key-bias", exercises=("multi-head-backward",), docs="derivations/attention.md")
    def key_bias_gets_nothing():
        '''What is the gradient of the bias of the keys?

        Zero. It adds the same number to all scores of a row ...

        And that of the queries' bias? It is not zero ...
        '''
        rng = np.random.default_rng(0)
        ...

The Chinese stands in the folder ``zh`` beside the file, by the names question, answer and trap (see
`npformer.exercises.translation`).
"""

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from npformer.exercises.source import bare_source, paragraphs
from npformer.exercises.text import Text
from npformer.exercises.translation import in_both

Check = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Card:
    """An interview question.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    check : callable
        Takes nothing and asserts what the answer claims, on code of the library. It stands on its
        own: of its module it may use what that imports, nothing else. The paragraphs of its
        docstring are the question; the answer, which is what one says in half a minute; and the
        trap: the follow-up that catches who has learned the answer by heart, with its own answer.
    exercises : tuple of str
        Ids of exercises on the same thing.
    docs : str
        The page that goes deeper, below ``docs/``; empty if there is none.
    """

    id: str
    check: Check
    exercises: tuple[str, ...] = ()
    docs: str = ""

    @property
    def file(self) -> Path:
        """Where it is defined."""
        return Path(inspect.getfile(self.check))

    @property
    def topic(self) -> str:
        """The name of its file, or its first word: a large topic has several files."""
        return self.file.stem.partition("_")[0]

    @property
    def english(self) -> dict[str, str]:
        """All it says, by name: question, answer and trap."""
        return paragraphs(self.check, "question", "answer", "trap")

    @property
    def said(self) -> dict[str, Text]:
        """The same in both languages."""
        return in_both(self.file, self.id, self.english)

    @property
    def follow_up(self) -> tuple[Text, Text]:
        """The trap's question, up to its first question mark, and its answer."""
        trap = self.said["trap"]
        en, en_mark, en_answer = trap.en.partition("?")
        zh, zh_mark, zh_answer = trap.zh.partition("？")
        return Text(en + en_mark, zh + zh_mark), Text(en_answer.lstrip(), zh_answer.lstrip())

    @property
    def proof(self) -> str:
        """The check as a program: the imports that it needs, the function, the call."""
        function = bare_source(self.check)
        used = {node.id for node in ast.walk(ast.parse(function)) if isinstance(node, ast.Name)}
        imports = []
        for node in ast.parse(inspect.getsource(sys.modules[self.check.__module__])).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                node.names = [a for a in node.names if (a.asname or a.name) in used]
                if node.names:
                    imports.append(ast.unparse(node))
        return "\n".join([*imports, "\n", function, "", f"{self.check.__name__}()"])


def card(card_id: str, **about: Any) -> Callable[[Check], Card]:
    """Make a card of a function that proves what it says; the others are parameters of `Card`."""
    return lambda check: Card(id=card_id, check=check, **about)
