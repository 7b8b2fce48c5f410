"""Documentation that lives inside Python sources: docstrings, and the topics of `help()`."""

import ast
import re

MIN_DOCSTRING_CHARS = 160


def module_docstrings(source: str) -> list[str]:
    """The longer docstrings of one module, joined in order; empty if it has none.

    A source that this Python cannot parse has none.
    """
    if '"""' not in source:
        return []
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    kept = [text for text in found if text and len(text) >= MIN_DOCSTRING_CHARS]
    return ["\n\n".join(kept)] if kept else []


def prose_documents(text: str) -> list[str]:
    """Prose of a documentation file.

    Of a package's METADATA only the description is kept; the dictionary of the topics of `help()`
    becomes one document per topic.
    """
    if text.startswith("Metadata-Version:"):
        return [text.partition("\n\n")[2]]
    if not re.search(r"^topics = \{", text, flags=re.MULTILINE):
        return [text]
    tree = ast.parse(text)
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    topics = [ast.literal_eval(value) for value in values if isinstance(value, ast.Dict)]
    return [str(document) for topic in topics for document in topic.values()]
