"""Starting Gradio without work that no page needs: it saves 1.5 s before the first page."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

WRITER = "gradio.component_meta"


class _NoStubs(MetaPathFinder):
    """Lets the module that writes stubs be imported, and keeps it from writing.

    Gradio parses the source of each of its components and writes a .pyi file beside it, at every
    import, for editors. Where that changes in a later version, this does nothing.
    """

    def find_spec(
        self,
        name: str,
        path: Any,
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """The module as it would have been found, with one function less."""
        spec = PathFinder.find_spec(name, path) if name == WRITER else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_quieten(module: ModuleType) -> None:
            run(module)
            vars(module)["create_or_modify_pyi"] = lambda *_: None

        spec.loader.exec_module = run_and_quieten  # type: ignore[method-assign]
        return spec


def import_gradio_quickly() -> None:
    """To be called before Gradio is imported for the first time; else it does nothing."""
    if WRITER not in sys.modules:
        sys.meta_path.insert(0, _NoStubs())


@contextmanager
def no_apps_in_between() -> Iterator[None]:
    """Builds pages without a web app at the end of each: only the one that is mounted is used."""
    from gradio.routes import App

    whole = App.__dict__["create_app"]
    App.create_app = staticmethod(lambda *_, **__: None)  # type: ignore
    try:
        yield
    finally:
        App.create_app = whole  # type: ignore[method-assign]
