"""What request and response bodies of the API share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from augrec.data.columns import CONTROL_CHARACTERS, MAX_ID_LENGTH

MAX_HISTORY = 1_000
MAX_LISTED = 10_000
MAX_K = 500
MAX_EVENTS = 1_000
MAX_EXPLAINED = 100

_NO_CONTROL = f"^[^{CONTROL_CHARACTERS[1:-1]}]+$"
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=_NO_CONTROL)]
"""Id of a user, item, event or answer: text without control characters."""
Label = Annotated[str, StringConstraints(min_length=1, max_length=256)]
ContextValue = bool | int | float | Annotated[str, StringConstraints(max_length=256)] | None
Which = Literal["champion", "challenger"]


class Body(BaseModel):
    """Base of all requests. Unknown keys are refused, so that a misspelt filter is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Answer(BaseModel):
    """Base of all responses. Docstrings of fields are part of the API's documentation."""

    model_config = ConfigDict(use_attribute_docstrings=True)
