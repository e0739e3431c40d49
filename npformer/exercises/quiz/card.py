"""What a card is: a question, its answer, the follow-up, and code that proves the answer."""

import ast
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass

from npformer.exercises.text import Text


@dataclass(frozen=True, kw_only=True)
class Card:
    """An interview question.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    topic : str
        The name of its file.
    question, answer : Text
        The answer is what one says in half a minute; the long ones are in ``docs/``.
    trap : Text
        The follow-up that catches who has learned the answer by heart, with its own answer: what
        stands before the first question mark is the question.
    check : callable
        Takes nothing and asserts what the answer claims, on code of the library. It stands on its
        own: of its module it may use what that imports, nothing else.
    exercises : tuple of str
        Ids of exercises on the same thing.
    docs : str
        The page that goes deeper, below ``docs/``; empty if there is none.
    """

    id: str
    topic: str
    question: Text
    answer: Text
    trap: Text
    check: Callable[[], None]
    exercises: tuple[str, ...] = ()
    docs: str = ""

    @property
    def follow_up(self) -> tuple[Text, Text]:
        """The trap's question and its answer."""
        en, en_mark, en_answer = self.trap.en.partition("?")
        zh, zh_mark, zh_answer = self.trap.zh.partition("？")
        return Text(en + en_mark, zh + zh_mark), Text(en_answer.lstrip(), zh_answer.lstrip())

    @property
    def proof(self) -> str:
        """The check as a program: the imports that it needs, the function, the call."""
        function = inspect.getsource(self.check)
        used = {node.id for node in ast.walk(ast.parse(function)) if isinstance(node, ast.Name)}
        imports = []
        for node in ast.parse(inspect.getsource(sys.modules[self.check.__module__])).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                node.names = [a for a in node.names if (a.asname or a.name) in used]
                if node.names:
                    imports.append(ast.unparse(node))
        return "\n".join([*imports, "\n", function, "", f"{self.check.__name__}()"])
