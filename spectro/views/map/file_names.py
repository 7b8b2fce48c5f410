"""Names of the files of a map's folder: what a writer of maps may take for its own (ADR 033)."""

import re
from dataclasses import fields

from spectro.views.map.data_files import (
    CONTROL_FOLDER,
    MARKER,
    VOCABULARY,
    ClusterColumns,
    TokenColumns,
)


def _one_of(kind: type[TokenColumns] | type[ClusterColumns]) -> str:
    return "|".join(field.name for field in fields(kind))


_PAGE = re.compile(r"[\w.-]+\.(html|css|js)")
_DATA = re.compile(
    "|".join(
        (
            re.escape(VOCABULARY),
            r"(regions|report|names)\.json",
            rf"tokens/({_one_of(TokenColumns)})-\d{{4,}}\.bin",
            rf"clusters/({_one_of(ClusterColumns)}|profiles-\d{{4,}})\.bin",
            r"sequences/(subsets|held|ids-\d{4,})\.bin",
        )
    )
)


def is_page_name(name: str) -> bool:
    """Whether files of the page are called so; others may be, too."""
    return _PAGE.fullmatch(name) is not None


def is_data_name(name: str) -> bool:
    """Whether `folder.objects` or `folder.within` give files of this name."""
    inner = name.removeprefix(f"{CONTROL_FOLDER}/")
    return _DATA.fullmatch(inner) is not None or (inner != name and inner == MARKER)
