"""Who may import whom: data flows one way through the rooms (docs/architecture.md)."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "anomalyst"
GROUND = {"types", "errors", "imaging", "config", "files", "colours", "catalogue",
          "allocator", "processor", "geometry", "threads", "resolution"}  # fmt: skip
MAY_IMPORT = {
    "types": set(),
    "errors": set(),
    "files": {"errors"},
    "config": {"errors"},
    "imaging": {"errors", "geometry"},
    "colours": set(),
    "allocator": set(),
    "processor": {"errors"},
    "threads": set(),
    "geometry": set(),
    "resolution": {"errors", "geometry"},
    "catalogue": {"errors"},
    "data": set(),
    "synthesis": set(),
    "making": {"data", "synthesis"},
    "encoders": set(),
    "detection": {"encoders", "synthesis"},
    "language": {"detection", "encoders"},
    "model": {"language", "detection", "encoders"},
    "product": {"detection", "encoders"},
    "seeing": {"language", "detection", "encoders"},
    "inspector": {"seeing", "runtime", "product", "model", "language", "detection", "encoders"},
    "runtime": {"product", "detection", "encoders"},
    "deployment": {"runtime", "inspector", "product", "detection", "__init__"},
    "report": set(),
    "evaluation": {
        "runtime", "inspector", "product", "model", "language", "detection", "encoders", "data",
        "report", "synthesis",
    },
    "training": {
        "evaluation", "inspector", "model", "language", "detection", "encoders", "data",
        "synthesis", "making",
    },
    "serving": {
        "inspector", "product", "model", "language", "detection", "encoders", "report",
    },
    "cli": {
        "serving", "data", "synthesis", "making", "encoders", "detection", "product", "language",
        "model", "inspector", "report", "evaluation", "training", "deployment", "runtime",
    },
    "__init__": {"inspector", "product"},
    "__main__": {"cli"},
}  # fmt: skip


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(tree: ast.AST) -> set[str]:
    """Every `anomalyst...` module imported anywhere in the file, lazily or not."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "anomalyst"}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            if node.module == "anomalyst":
                found |= {f"anomalyst.{a.name}" for a in node.names if a.name != "__version__"}
            elif node.module and node.module.split(".")[0] == "anomalyst":
                found.add(node.module)
    return found


def breaches(path: Path, source: str) -> list[str]:
    relative = path.relative_to(ROOT)
    room = relative.parts[0].removesuffix(".py")
    allowed = MAY_IMPORT[room] | {room} | (GROUND if room not in GROUND else set())
    wrong = {room_of(m) for m in imports(ast.parse(source))} - allowed
    return [f"{relative} imports {w}" for w in sorted(wrong)]


def test_every_room_knows_only_the_rooms_before_it():
    found = [b for p in sorted(ROOT.rglob("*.py")) for b in breaches(p, p.read_text())]
    assert not found, found


def test_a_planted_breach_is_found():
    planted = "def f():\n    from anomalyst.training import loop\n"
    assert breaches(ROOT / "detection" / "bank.py", planted) == [
        "detection/bank.py imports training"
    ]


def test_the_light_files_import_no_torch():
    for name in ("types.py", "errors.py", "files.py", "__init__.py"):
        tree = ast.parse((ROOT / name).read_text())
        top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = {a.name for n in top for a in n.names} | {getattr(n, "module", "") for n in top}
        assert not names & {"torch", "transformers", "numpy"}, name
