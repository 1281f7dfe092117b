"""Numbers in the names of checkpoints, by the template of mmengine's CheckpointHook."""

from __future__ import annotations

import re
import string


def number_in(name: str, template: str) -> int | None:
    """Return the epoch or iteration in a file name.

    Args:
        name: File name.
        template: Template for `str.format`, such as ``epoch_{}.pth`` or ``e{:03d}.pth``.

    Returns:
        The number, 0 if the template has no place for one; None if the name is another one.

    Raises:
        ValueError: If the template is none, or wants more than one number.

    Example:
        >>> number_in("e012.pth", "e{:03d}.pth")
        12
    """
    try:
        template.format(0)
        parts = list(string.Formatter().parse(template))
    except (ValueError, LookupError) as error:
        raise ValueError(
            "filename_tmpl of CheckpointHook must be a name with {} for the epoch or iteration, "
            f"such as epoch_{{}}.pth, but it is {template!r}."
        ) from error
    pattern = "".join(
        re.escape(text) + ("" if field is None else "([0-9]+)") for text, field, *_ in parts
    )
    match = re.fullmatch(pattern, name)
    if match is None:
        return None
    number = int(match[1]) if match.groups() else 0
    return number if template.format(number) == name else None
