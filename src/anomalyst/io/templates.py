"""Pages from templates that lie beside the code which fills them."""

from functools import cache

from jinja2 import Environment, PackageLoader, Template, select_autoescape

from anomalyst.version import __version__


def template(package: str, name: str) -> Template:
    """The template `name` in the folder of `package`; all values that fill it are escaped.

    Every template knows `version`. A line of nothing but a block tag leaves nothing on the page.
    """
    return _environment(package).get_template(name)


@cache
def _environment(package: str) -> Environment:
    found = Environment(
        loader=PackageLoader(package, "."),
        autoescape=select_autoescape(["j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals["version"] = __version__
    return found
