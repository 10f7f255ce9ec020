"""Who may import whom: the table of the README, kept true."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# A package to what it must never import, by prefix.
FORBIDDEN = {
    "lss_core": ("streamlit", "ui", "pages", "app"),
    "lss_core/vocabulary.py": ("lss_core", "numpy", "torch"),
    "lss_core/settings.py": ("lss_core", "numpy", "torch"),
    "lss_core/imaging": ("torch", *(f"lss_core.{n}" for n in ("grading", "training", "simulation", "statistics"))),
    "lss_core/simulation": ("torch", *(f"lss_core.{n}" for n in ("grading", "training", "statistics"))),
    "lss_core/grading": ("lss_core.training", "lss_core.study", "lss_core.simulation", "lss_core.statistics"),
    "lss_core/training": ("lss_core.study",),
    "lss_core/study": ("torch", *(f"lss_core.{n}" for n in ("grading", "imaging", "simulation", "training"))),
    "lss_core/curation": ("torch", *(f"lss_core.{n}" for n in ("grading", "imaging", "simulation", "training"))),
    "lss_core/export": ("sqlmodel", "lss_core.training", "lss_core.curation", "lss_core.simulation"),
    "lss_core/many": tuple(f"lss_core.{n}" for n in ("training", "simulation", "study", "curation")),
    "lss_core/statistics": ("lss_core.", "torch"),
    "lss_core/figures.py": ("torch", "sqlmodel"),
    "pages": ("torch", "numpy", "sqlmodel", "sqlalchemy", "pages"),
}
OWN_FAMILY = {"lss_core/statistics": "lss_core.statistics"}


def imports_of(path: Path) -> set[str]:
    """Absolute names of every module that a file imports, at the top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def matches(name: str, prefix: str) -> bool:
    return name == prefix.rstrip(".") or name.startswith(prefix.rstrip(".") + ".")


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_module_imports_what_its_layer_must_not(package):
    target = ROOT / package
    files = [target] if target.suffix else sorted(target.rglob("*.py"))
    own = OWN_FAMILY.get(package, "-")
    broken = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in sorted(imports_of(file))
        for prefix in FORBIDDEN[package]
        if matches(name, prefix) and not matches(name, own)
    ]
    assert not broken, broken


def test_every_page_begins_with_the_guard():
    for page in sorted((ROOT / "pages").glob("*.py")):
        statements = ast.parse(page.read_text()).body
        body = [s for s in statements if not isinstance(s, ast.Import | ast.ImportFrom)]
        first = body[1] if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant) else body[0]
        assert "require(" in ast.unparse(first), f"{page.name} begins with {ast.unparse(first)}"


def test_package_files_are_docstrings_only():
    for file in (ROOT / "lss_core").rglob("__init__.py"):
        assert len(ast.parse(file.read_text()).body) == 1, file
