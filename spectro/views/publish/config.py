"""What is published of a run, and under which licences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

UNKNOWN = "unknown"
REDISTRIBUTABLE = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause",
    "bsd-3-clause-clear", "bsl-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0",
    "cdla-permissive-2.0", "cdla-sharing-1.0", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0",
    "eupl-1.1", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "mit",
    "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "osl-3.0", "pddl", "postgresql",
    "unlicense", "wtfpl", "zlib",
})  # fmt: skip
"""Licences, by the hub's identifiers, that allow excerpts to be redistributed. No-derivatives
licences do not: a sequence of tokens is an excerpt that was changed."""


class EditedCard(StrEnum):
    """What is done with a README.md that is not the one published before."""

    REFUSE = "refuse"
    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True, kw_only=True)
class PublishConfig:
    """Settings of a published run."""

    title: str | None = None
    """Heading of the card; None takes the run's own name."""
    licence: str = UNKNOWN
    """Licence of the text, as the hub names them (`mit`, `cc-by-sa-4.0`). Text is published only if
    its licence is known and allows it; else there are token ids alone."""
    licences: dict[str, str] = field(default_factory=dict)
    """Licence by subset, where it is another one."""
    text: bool = True
    """Whether text is published at all; false: token ids alone."""
    map: bool = True
    """Whether tokens and clusters have their places on the map, which is laid out where there is
    none."""
    edited_card: EditedCard = EditedCard.REFUSE
    """A README.md there that was edited, or written by somebody else: `refuse` to publish, `keep`
    it beside the new tables, or `replace` it."""
    private: bool = True
    """Whether a repository that is made on the hub is private; one that exists stays as it is."""

    def __post_init__(self) -> None:
        of_subsets = {f"licences.{name}": licence for name, licence in self.licences.items()}
        for name, licence in {"licence": self.licence, **of_subsets}.items():
            if not _is_identifier(licence):
                raise ValueError(
                    f"publish.{name} is {licence!r}, expected the hub's identifier of a licence: "
                    "small letters, digits, '.' and '-', such as cc-by-4.0"
                )

    def licences_of(self, subsets: Sequence[str]) -> dict[str, str]:
        """Licence of every subset; ValueError for one in `licences` that is not there."""
        absent = self.licences.keys() - {*subsets}
        if absent:
            raise ValueError(
                f"publish.licences names the subset {min(absent)!r}, the run has "
                f"{', '.join(map(repr, subsets))}"
            )
        return {name: self.licences.get(name, self.licence) for name in subsets}

    def subsets_with_text(self, subsets: Sequence[str]) -> frozenset[str]:
        """Subsets whose text is published."""
        known = self.licences_of(subsets)
        return frozenset(n for n in subsets if self.text and known[n] in REDISTRIBUTABLE)


def _is_identifier(licence: object) -> bool:
    return isinstance(licence, str) and bool(licence) and all(
        char.isascii() and (char.islower() or char.isdigit() or char in ".-") for char in licence
    )  # fmt: skip
