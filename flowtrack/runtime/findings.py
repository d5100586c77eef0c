"""What a look at a machine finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what was looked at.
        state: `ok`; `missing`: a part that some features need; `broken`: tracking cannot work.
        detail: what was found.
        remedy: the command or step that mends it; empty if there is nothing to mend.
    """

    subject: str
    state: State
    detail: str
    remedy: str = ""
