"""The types of settings, with the bounds that keep the rest of the code safe."""

from typing import Annotated

from pydantic import Field

# A year, and a hundred: beyond them times and dates overflow.
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Minutes = Annotated[int, Field(ge=1, le=525_600)]
# Where zero means none at all.
SecondsOrNone = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
Count = Annotated[int, Field(ge=1)]
