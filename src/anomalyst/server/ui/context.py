"""What every page works with, and who works with it."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import isgeneratorfunction
from typing import Any, TypeVar, cast

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.auth import LOCAL, Caller, Role, caller_called
from anomalyst.server.corrections import Corrections
from anomalyst.server.errors import Forbidden
from anomalyst.server.jobs.training_runs import Runs
from anomalyst.server.jobs.watches import Watches
from anomalyst.server.service import Service

Handler = TypeVar("Handler", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Bench:
    """The server's parts, as pages see them."""

    service: Service
    corrections: Corrections
    runs: Runs
    watches: Watches

    def who(self, request: gr.Request, role: Role = "operator") -> Caller:
        """Who sits at the page. Raises Forbidden if their role is too low."""
        found = LOCAL
        if self.service.config.keys:
            found = caller_called(self.service.store, request.username)
        if not found.may(role):
            raise Forbidden(f"this takes the role {role}; yours is {found.role}.")
        return found


def told(handler: Handler) -> Handler:
    """Errors that a person can mend are shown as one sentence."""
    if isgeneratorfunction(handler):

        @functools.wraps(handler)
        def steps(*given: Any) -> Iterator[Any]:
            try:
                yield from handler(*given)
            except AnomalystError as error:
                raise gr.Error(str(error), duration=12, print_exception=False) from None

        return cast(Handler, steps)

    @functools.wraps(handler)
    def once(*given: Any) -> Any:
        try:
            return handler(*given)
        except AnomalystError as error:
            raise gr.Error(str(error), duration=12, print_exception=False) from None

    return cast(Handler, once)
