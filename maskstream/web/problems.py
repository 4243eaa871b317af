"""Answer errors as problem details (RFC 9457) with a one-line message."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from maskstream.errors import ConfigError, MaskStreamError
from maskstream.redaction import one_line, redact_text


class Problem(Exception):
    """An error that ends a request with a status and one line."""

    def __init__(self, status: int, detail: str, *, title: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        """Keep the message as one line without passwords.

        Args:
            status: The HTTP status.
            detail: The error, and advice.
            title: The kind of problem; None: the phrase of the status.
            headers: Headers of the answer, such as `Retry-After`.
        """
        super().__init__(one_line(redact_text(detail)))
        self.status = status
        self.title = title or HTTPStatus(status).phrase
        self.headers = dict(headers or {})

    @classmethod
    def of(cls, error: MaskStreamError) -> "Problem":
        """Return the problem of an error of the program: 422 for wrong settings, 503 for what does not work now."""
        return cls(422 if isinstance(error, ConfigError) else 503, str(error))

    def response(self) -> Response:
        """Return the answer."""
        content = {"type": "about:blank", "title": self.title, "status": self.status, "detail": str(self)}
        return Response(json.dumps(content), self.status, headers=self.headers, media_type="application/problem+json")
