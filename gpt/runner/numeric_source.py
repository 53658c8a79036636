"""What of a definition's source can change a number, and the names that it uses."""

import ast
from collections.abc import Iterator
from typing import Any

DESCRIPTIONS = frozenset({"Array", "Summary"})
"""what says how a reader is shown numbers, see `gpt.records.catalogue`"""


class Numeric(ast.NodeTransformer):
    """A definition without annotations, docstrings, imports, assertions, what its errors say and arrays are called.

    Of a configuration's models only what is computed from their fields is left: the fields' values are in a run's
    fingerprint. The tree that is given is changed.
    """

    def __init__(self, statement: ast.stmt):
        self.names: list[tuple[str, ...]] = []
        """every name that is left, with the attributes asked of it"""
        self.imports: dict[str, str] = {}
        """what the definition itself imports, see `imports`"""
        self.text = ast.unparse(self.visit(statement) or ast.Pass())

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.names.append((node.id,))
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        words, root = [node.attr], node.value
        while isinstance(root, ast.Attribute):
            words.insert(0, root.attr)
            root = root.value
        if isinstance(root, ast.Name):
            self.names.append((root.id, *words))
            return node
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if _last_word(node.func) in DESCRIPTIONS:
            return ast.Constant(None)
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)

    def visit_Assert(self, node: ast.Assert) -> None:
        return None

    def visit_Import(self, node: ast.Import) -> None:
        self.imports |= dict(imports(node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports |= dict(imports(node))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST | None:
        if any(isinstance(d, ast.Call) and _last_word(d.func) == "model_validator" for d in node.decorator_list):
            return None  # refuses configurations, and changes none
        node.returns = None
        return self._with_body(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        if any(_last_word(base) == "Strict" for base in node.bases):
            node.body = [statement for statement in node.body if not isinstance(statement, ast.AnnAssign)]
        return self._with_body(node)

    def _with_body(self, node: Any) -> ast.AST:
        """The body, under the decorators that do not only register it under a name."""
        node.decorator_list = [
            d for d in node.decorator_list if not (isinstance(d, ast.Call) and _last_word(d.func) == "register")
        ]
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node


def imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """What an import calls modules or definitions here, and their dotted names."""
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name, f"{node.module}.{alias.name}"
    elif isinstance(node, ast.Import):
        for alias in node.names:
            first = alias.name.split(".")[0]
            yield (alias.asname, alias.name) if alias.asname else (first, first)


def is_registry(statement: ast.stmt) -> bool:
    """Whether a definition makes a `gpt.registry.Registry`, whose entries are a choice by one field."""
    value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(value, ast.Call) and _last_word(value.func) == "Registry"


def _last_word(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
