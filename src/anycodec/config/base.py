"""The base of every spec: frozen, no unknown keys, every field documented."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

PositiveInt = Annotated[int, Field(ge=1)]


class Spec(BaseModel):
    """A typed piece of configuration.

    Specs hold decisions, never derived sizes. Each field's `description` is what
    `anycodec config keys` and the JSON schema show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
