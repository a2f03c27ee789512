"""No circles between files, and light files stay light; pyproject.toml says who may import whom."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent / "src" / "anomalyst"


def test_no_file_imports_itself_by_way_of_others():
    graph = grimp.build_graph("anomalyst", cache_dir=None)
    TopologicalSorter(
        {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    ).prepare()  # raises CycleError, which names the circle


def test_the_light_files_import_no_torch():
    for name in ("types.py", "errors.py", "io/files.py", "__init__.py"):
        tree = ast.parse((ROOT / name).read_text())
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name for n in top for a in n.names} | {getattr(n, "module", "") for n in top}
        assert not names & {"torch", "transformers", "numpy"}, name
