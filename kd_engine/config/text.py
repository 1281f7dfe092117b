"""Text of a config as plain values, read without running it.

A checkpoint holds its run's config as the text of a Python program, which mmengine made of plain
values. What a file says must not run, so its syntax tree is read instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 5_000_000  # characters; a config has thousands


class Expression(str):
    """Source text of a value that is not plain, such as the name of a class."""


def parse_config_text(text: str) -> dict[str, Any] | None:
    """Read assignments of plain values: numbers, texts, lists, dicts, calls of dict.

    Nothing is run or imported. Tuples become lists, so that the two are equal.

    Args:
        text: What `Config.pretty_text` made, or anything else.

    Returns:
        Name to value; what is not a plain value is an `Expression`. None if the text has no syntax
        tree, or is too large for one.

    Example:
        >>> parse_config_text("model = dict(depth=18, strides=(1, 2))")
        {'model': {'depth': 18, 'strides': [1, 2]}}
    """
    if len(text) > _LONGEST:
        return None
    try:
        tree = ast.parse(text)
        return {
            node.targets[0].id: _value(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def texts_in(values: Any) -> Iterator[str]:
    """Yield every text among the values of a config, its dicts, lists and tuples.

    Args:
        values: Anything; what is neither a text nor one of these holds none.
    """
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        for item in values.values():
            yield from texts_in(item)
    elif isinstance(values, list | tuple):
        for item in values:
            yield from texts_in(item)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_key(key): _value(value) for key, value in pairs if key is not None}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return _called_dict(node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        number = _value(node.operand)
        return -number if isinstance(number, int | float) else Expression(ast.unparse(node))
    return Expression(ast.unparse(node))


def _called_dict(node: ast.Call) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for argument in node.args:
        content = _value(argument)
        found |= content if isinstance(content, dict) else {"*": content}
    return found | {str(word.arg): _value(word.value) for word in node.keywords}


def _key(node: ast.expr) -> Any:
    key = _value(node)
    return key if isinstance(key, str | int | float | bool | None) else str(key)
