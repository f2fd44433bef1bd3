"""Fields of a request that are no inputs.

Triton's `generate` endpoint takes {"user_id": 1, "k": 5}. A name in it that is no input of the model becomes a
parameter of the request, which nobody would read: {"user": 1} would be answered as if it named nobody.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from serving.recommend.requests import RequestError

RESERVED = ("priority", "timeout", "sequence_id", "sequence_start", "sequence_end", "binary_data_output", "request_id")
"""Parameters of Triton's own protocols."""


def check_fields(request: Any, inputs: Sequence[str]) -> None:
    """Refuse a request of Triton's whose parameters hold a name that was meant for an input.

    Raises:
        RequestError: it names the field and the known ones.
    """
    read = getattr(request, "parameters", None)
    text = read() if read is not None else ""
    refuse_unknown(json.loads(text) if text else {}, inputs)


def refuse_unknown(parameters: Mapping[str, Any], inputs: Sequence[str]) -> None:
    """Raise RequestError for the first parameter that is not one of the protocol's own."""
    for name in parameters:
        if name in RESERVED or name.startswith("triton_"):
            continue
        close = difflib.get_close_matches(name, inputs, n=1, cutoff=0.5)
        meant = f" (do you mean {close[0]}?)" if close else ""
        raise RequestError(f"unknown field {name!r}{meant}; known are: {', '.join(inputs)}")
