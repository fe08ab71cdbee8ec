"""Which room may know which: read from the imports, those inside functions included."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("adapter", "documentation", "evaluation", "figures", "guidance", "iqa_models", "nodes", "pictures", "quality",
         "quickstart", "training")  # fmt: skip
FILES = ("files", "inference_mode", "left_behind", "optional", "printable", "safetensors_files", "tensor_files",
         "torch_pickle", "wrong_files")  # fmt: skip
GROUND = ("quality", "pictures", "figures", *FILES)
LEVELS = (  # a room may know its own and lower ones
    GROUND,
    ("adapter", "iqa_models"),
    ("training", "guidance"),
    ("quickstart",),
    ("evaluation",),
    ("nodes", "documentation"),
)
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
LONGEST = 300  # lines of a file without a reason in its head


def sources() -> list[Path]:
    rooms = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [*rooms, *(ROOT / f"{name}.py" for name in FILES), ROOT / "__init__.py"]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in sources()}


def imports(module: str, path: Path) -> set[str]:
    """Modules of the pack that a file imports, by dotted path; names of a package count for the module they name."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = [part for part in package if part]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                inner = ".".join([*base, alias.name])
                found.add(inner if inner in MODULES else ".".join(base))
    return found


GRAPH = {module: imports(module, path) for module, path in MODULES.items()}
EDGES = sorted((module, target) for module, targets in GRAPH.items() for target in targets if module)


def room(module: str) -> str:
    return module.split(".")[0]


def test_every_import_names_a_file_of_the_pack():
    assert [edge for edge in EDGES if edge[1] not in MODULES] == []


def test_no_arrow_runs_back_up():
    wrong = [
        (module, target)
        for module, target in EDGES
        if room(module) != room(target) and LEVEL[room(target)] >= LEVEL[room(module)] and room(target) not in GROUND
    ]
    assert wrong == []


@pytest.mark.parametrize("module, target", [("quality", "adapter"), ("pictures", "training"), ("figures", "nodes")])
def test_the_rule_would_notice(module, target):
    assert LEVEL[target] > LEVEL[module]


def test_ground_rooms_know_no_room_above():
    assert [edge for edge in EDGES if room(edge[0]) in GROUND and room(edge[1]) not in GROUND] == []


def test_adapter_and_iqa_models_do_not_know_each_other():
    pair = {"adapter", "iqa_models"}
    assert [edge for edge in EDGES if {room(edge[0]), room(edge[1])} == pair] == []


def test_only_making_knows_making():
    outside = [edge for edge in EDGES if edge[1].startswith("quickstart.making") and "making" not in edge[0]]
    assert outside == []


def test_no_circle():
    """Not between two files either."""
    done, path = set(), []

    def visit(module: str) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        path.append(module)
        for target in sorted(GRAPH.get(module, ())):
            if target != module:
                visit(target)
        path.pop()
        done.add(module)

    for module in GRAPH:
        visit(module)


def test_inside_the_pack_imports_are_relative():
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert not [name for name in names if name.split(".")[0] == "iqa_adapter"], module


def test_files_stay_short():
    long = {}
    for module, path in MODULES.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > LONGEST and "long because" not in " ".join(lines[:20]).lower():
            long[module] = len(lines)
    assert long == {}


def test_what_of_the_quickstart_runs_is_small():
    runs = [path for module, path in MODULES.items() if room(module) == "quickstart" and "making" not in module]
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in runs) < 1200
