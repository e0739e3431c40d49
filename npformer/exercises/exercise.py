"""What an exercise is: one definition that feeds the notebook, the terminal, pytest and a class."""

import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from npformer.exercises.text import Text

TRACKS = ("interview", "class", "gradcheck")
DIFFICULTIES = (1, 2, 3)  # a line or two; a formula to derive; several steps

# What a solution may use, and what every student file begins with.
HEADER = "import numpy as np\n"
SOLUTION_IMPORT = "from npformer import distill, layers, models, ops, optim"
SOLUTION_HEADER = f"{HEADER}\n{SOLUTION_IMPORT}\n"


class Case(NamedTuple):
    """One call of the learner's function.

    ``part`` names the property it counts to, one of `PARTS`. A case without one is plain: there every output is a
    property of its own ("dx", "dgamma"). In a named part ("padding mask", "extreme values") all
    outputs must be right.
    """

    args: dict[str, Any]  # by parameter name; arrays are float64, integer or boolean
    part: str = ""


# The names of the parts in Chinese.
PARTS = {
    "one class": "只有一类",
    "huge logits": "极大的 logits",
    "saturated rows": "饱和的行",
    "saturated": "饱和",
    "one row": "只有一行",
    "one feature": "只有一个特征",
    "axes of length 1": "长度为 1 的轴",
    "axes missing and of length 1": "缺失的轴和长度为 1 的轴",
    "nothing to sum": "无需求和",
    "x = 0": "x = 0",
    "ignored labels": "被忽略的标签",
    "nothing kept": "全部被忽略",
    "alpha = 0": "alpha = 0",
    "large mean": "很大的均值",
    "constant row": "常数行",
    "p_drop = 0": "p_drop = 0",
    "repeated ids": "重复的 id",
    "one id": "只有一个 id",
    "one head": "只有一个头",
    "one query": "只有一个 query",
    "one key": "只有一个 key",
    "equal lengths": "长度相等",
    "huge scores": "极大的分数",
    "huge hidden scores": "被屏蔽处的极大分数",
    "very low scores": "极低的分数",
    "no padding": "没有填充",
    "one real key": "只有一个真实的 key",
    "an all-padding sequence": "全为填充的序列",
    "nothing to attend to": "没有可见的 key",
    "no dropout": "没有 dropout",
    "loss on the scores alone": "只有分数上的损失",
    "loss on the output alone": "只有输出上的损失",
    "one token": "只有一个词元",
    "one target token": "只有一个目标词元",
    "one new token": "只有一个新词元",
    "the first token": "第一个词元",
    "one feature a head": "每个头只有一个特征",
    "blocks that divide S": "块大小整除 S",
    "one key a block": "每块一个 key",
    "a single block": "只有一块",
    "odd width": "奇数维",
    "one position": "只有一个位置",
    "a long text": "很长的文本",
    "length 1": "长度为 1",
    "one sequence": "只有一个序列",
    "a full table": "表刚好用满",
    "unread rows": "从未读取的行",
    "one bucket for all": "所有距离落入同一个桶",
    "one plane": "只有一个平面",
    "far positions": "很远的位置",
    "three heads": "三个头",
    "twelve heads": "十二个头",
    "temperature below 1": "温度小于 1",
    "padding": "填充",
    "all-padding row": "全为填充的一行",
    "768 wide, 12 heads": "宽 768，12 个头",
    "one layer learns from two": "一层学习两层",
    "long vectors": "很长的向量",
    "same depth": "层数相同",
    "one layer": "只有一层",
    "does not divide": "不能整除",
    "student too deep": "学生比教师深",
    "extreme values": "极端数值",
    "padding mask": "填充掩码",
    "special tokens": "特殊词元",
    "everything chosen": "全部选中",
    "nothing chosen": "一个也不选",
    "unknown words": "未知单词",
    "long words": "过长的单词",
    "Chinese characters": "汉字",
    "no words": "没有单词",
    "first step": "第一步",
    "no momentum": "没有动量",
    "a late step": "很靠后的一步",
    "tiny gradients": "极小的梯度",
    "gradients of zero": "梯度为零",
    "bias": "偏置",
    "no decay": "没有衰减",
    "the ends": "两段的端点",
    "after the end": "结束之后",
    "no warm-up": "没有预热",
    "warm-up alone": "只有预热",
    "below the bound": "小于上限",
    "one array": "只有一个数组",
    "one micro-batch": "只有一个 micro-batch",
    "a micro-batch without labels": "没有标签的 micro-batch",
    "right backwards": "正确的 backward",
    "wrong backwards": "错误的 backward",
    "one wrong entry": "只错一个元素",
    "slightly wrong backwards": "略有偏差的 backward",
    "NaN in a gradient": "梯度中有 NaN",
    "a wrong shape": "形状不对",
    "a missing gradient": "缺少一个梯度",
    "integer arguments": "整数参数",
}


# What every exercise asks, and every learner's file says.
FLOAT32 = Text("float32 inputs give float32 results.", "输入为 float32 时，结果也为 float32。")
MANNERS = Text(
    "Inputs stay as they are, the same inputs give the same results, and NumPy and Python's own "
    "modules are all you use. A variable of yours that has a name of the statement is compared with "
    "ours, if nothing else explains a mistake.",
    "不改动输入，同样的输入给出同样的结果，并且只用 NumPy 和 Python 自带的模块。如果找不到出错的原因，会把你的变量与题目中同名的量作比较。",
)


class Misconception(NamedTuple):
    """A wrong function, with what it says about who wrote it."""

    name: str  # "mean-term-missing"
    wrong: Callable[..., Any]  # the signature of the exercise
    diagnosis: Text  # what was done, and what belongs there


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """An exercise: the learner writes one function.

    Parameters
    ----------
    id : str
        In lower case, with hyphens.
    title, statement : Text
        The statement says everything that is graded: formula, shapes, what is returned.
    reference : callable
        A few lines in the learner's signature that call the library; never a copy of it. Its
        name, its signature and its docstring are those of the stub.
    library : sequence of callable
        The functions whose source is shown as the solution.
    outputs : tuple of str
        Names of what is returned, in order; with one name it is not a tuple.
    cases : callable
        ``cases(rng)`` returns the cases of a seed. The first is the smallest.
    hints : three Texts
        The idea; the formula; nearly the code.
    misconceptions : sequence of Misconception
    topic : str
        The chapter.
    tracks : tuple of str
        Of `TRACKS`.
    difficulty, minutes : int
    terms : callable, optional
        ``terms(**args)`` returns, for each output that is a sum, the addends by their names:
        ``{"dx": {"dy * gamma": array, "- mean": array}}``. They add up to the output.
    steps : callable, optional
        ``steps(**args)`` returns the intermediate results by the names the statement gives them,
        in order.
    factors : callable, optional
        ``factors(**args)`` returns numbers that a result may be off by, by name:
        ``{"sqrt(K)": 2.0, "B": 3}``.
    float32 : bool
        Whether float32 in must give float32 out.
    docs : str
        Where the derivation is, below ``docs/``.
    """

    id: str
    title: Text
    statement: Text
    reference: Callable[..., Any]
    library: Sequence[Callable[..., Any]]
    outputs: tuple[str, ...]
    cases: Callable[[np.random.Generator], list[Case]]
    hints: tuple[Text, Text, Text]
    misconceptions: Sequence[Misconception]
    topic: str
    tracks: tuple[str, ...]
    difficulty: int
    minutes: int
    terms: Callable[..., Mapping[str, Mapping[str, Any]]] | None = None
    steps: Callable[..., Mapping[str, Any]] | None = None
    factors: Callable[..., Mapping[str, float]] | None = None
    float32: bool = True
    docs: str = ""

    @property
    def function(self) -> str:
        """The name of the function to write."""
        return self.reference.__name__

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(inspect.signature(self.reference).parameters)

    @property
    def task(self) -> Text:
        """The statement, and what is asked of every exercise."""
        kept = (FLOAT32, MANNERS) if self.float32 else (MANNERS,)
        en, zh = " ".join(text.en for text in kept), "".join(text.zh for text in kept)
        return Text(f"{self.statement.en}\n\n{en}", f"{self.statement.zh}\n\n{zh}")

    @property
    def stub(self) -> str:
        """What the learner begins with."""
        head = f"def {self.function}{inspect.signature(self.reference)}:"
        doc = f'"""{inspect.getdoc(self.reference)}'
        end = '\n"""' if "\n" in doc else '"""'
        return f"{head}\n{textwrap.indent(doc + end, '    ')}\n    raise NotImplementedError\n"

    @property
    def solution(self) -> str:
        """The reference as source: it runs after `SOLUTION_HEADER`."""
        return textwrap.dedent(inspect.getsource(self.reference))

    @property
    def library_source(self) -> str:
        """The source of the library's own functions behind it."""
        return "\n\n".join(textwrap.dedent(inspect.getsource(f)) for f in self.library)
