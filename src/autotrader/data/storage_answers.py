"""What deltalake's words about its storage mean to a caller.

It words what the operating system or the object store answered, over several lines, and passes on
no number: the answer is found in the text.
"""

from __future__ import annotations

import re

from autotrader.config.aws_codes import explained
from autotrader.domain.errors import AutotraderError, Unreachable
from autotrader.files import explained_locally

_CODE = re.compile(r"<Code>(\w+)</Code>(?:.*?<Message>(.*?)</Message>)?", re.DOTALL)
_STATUS = re.compile(r"non-2xx status code\W+?(\d{3}) ([\w ]+)")
_NO_ANSWER = re.compile(
    r"error sending request|error decoding response body|timed out|error trying to connect"
)
_COLOURS = re.compile(r"\x1b\[\d+m")


def storage_answer(doing: str, error: OSError) -> AutotraderError:
    """The error of ours, one line.

    Parameters
    ----------
    doing : str
        What is being done to which table.
    error : OSError
        Whose text is deltalake's.
    """
    text = _COLOURS.sub("", str(error))
    status = _STATUS.search(text)
    number, reason = (int(status[1]), status[2]) if status else (0, "")
    said = _CODE.search(text)
    if said:
        return explained(doing, said[1], " ".join((said[2] or "").split()), number)
    if status:
        return explained(doing, str(number), reason.strip(), number)
    if _NO_ANSWER.search(text):
        lines = [line.strip(" ↳|") for line in text.splitlines()]
        return Unreachable(f"cannot {doing}: AWS did not answer: {lines[-1]}")
    return explained_locally(doing, error)
