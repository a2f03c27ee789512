"""What every page works with, and who works with it."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from anomalyst.server.storage.filters import Filter
from anomalyst.server.ui.wording import t

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
        found, oidc = LOCAL, self.service.config.oidc
        if oidc is not None:
            cookie = dict(request.cookies).get(oidc.session_cookie)
            found = self.service.sessions.at(cookie)
        elif self.service.config.keys:
            found = caller_called(self.service.store, request.username)
        if not found.may(role):
            roles = {"needed": t(f"role.{role}"), "own": t(f"role.{found.role}")}
            raise Forbidden(t("error.role", **roles))
        return found

    def product_choice(self, value: str | None = None) -> gr.Dropdown:
        """The products taught, of which `value` is chosen if it is one, or else the usual one."""
        names = self.service.product_names()
        return gr.Dropdown(choices=names, value=value if value in names else self.usual_product())

    def usual_product(self) -> str | None:
        """The one whose part came last, or else the first that is taught."""
        names = self.service.product_names()
        newest = self.service.store.history(Filter(), limit=1)
        came = newest[0].product if newest else None
        return came if came in names else next(iter(names), None)


def in_order(page: str) -> dict[str, Any]:
    """Settings for all events that fill the same part of a page: the one asked last is shown.

    Events of different functions run at the same time otherwise, and a slow first answer would
    replace the one to a filter that was set meanwhile.
    """
    return {"concurrency_id": page, "concurrency_limit": 1}


def shows_errors(handler: Handler) -> Handler:
    """Errors that a person can mend are shown as one sentence."""
    if isgeneratorfunction(handler):

        @functools.wraps(handler)
        def steps(*given: Any) -> Iterator[Any]:
            with _as_notice():
                yield from handler(*given)

        return cast(Handler, steps)
    return _as_notice()(handler)


@contextmanager
def _as_notice() -> Iterator[None]:
    try:
        yield
    except AnomalystError as error:
        title = t("error.title")
        raise gr.Error(str(error), duration=12, print_exception=False, title=title) from None


def warn(text: str) -> None:
    """Tell of something that was passed over."""
    gr.Warning(text, duration=12, title=t("warning.title"))


def inform(text: str) -> None:
    """Tell of something that was done."""
    gr.Info(text, title=t("info.title"))
