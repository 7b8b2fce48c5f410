"""A published folder to a dataset repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from spectro.extras import optional_imports
from spectro.views.publish.folder import CARD
from spectro.views.publish.parquet_files import PARTS
from spectro.views.publish.settings import SETTINGS

_PLACE = re.compile(r"hf://datasets/(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?")
_MADE_BY_THE_HUB = (".gitattributes", CARD)
"""What a repository that was just made may have."""


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A dataset repository, and a branch of it."""

    name: str
    """`owner/name`."""
    revision: str | None = None
    """Branch; None: the main one."""

    @classmethod
    def of(cls, place: str) -> Repository:
        """From `hf://datasets/owner/name[@branch]`; raises ValueError, in one line."""
        found = _PLACE.fullmatch(place)
        if found is None:
            raise ValueError(
                f"{place!r} is no dataset repository: expected hf://datasets/owner/name, with "
                "@branch for another branch than main"
            )
        return cls(name=found["repository"], revision=found["revision"])


def push(folder: Path, repository: Repository, *, private: bool) -> str:
    """Make the repository if there is none, and replace tables, card and settings there.

    Gives the commit's URL.

    Credentials are those of `hf auth login` or HF_TOKEN. Raises ValueError, in one line, for a
    repository with files of no published run; OSError where the hub refuses or cannot be reached.
    """
    with optional_imports():
        from huggingface_hub import HfApi

    api = HfApi(library_name="spectro")
    api.create_repo(repository.name, repo_type="dataset", private=private, exist_ok=True)
    if repository.revision is not None:
        api.create_branch(
            repository.name, branch=repository.revision, repo_type="dataset", exist_ok=True
        )
    there = api.list_repo_files(repository.name, repo_type="dataset", revision=repository.revision)
    others = sorted({*there} - {*_MADE_BY_THE_HUB})
    if others and SETTINGS not in others:
        raise ValueError(
            f"hf://datasets/{repository.name} holds files that are of no published run "
            f"({others[0]} …): give another repository"
        )
    made = api.upload_folder(
        folder_path=folder,
        repo_id=repository.name,
        repo_type="dataset",
        revision=repository.revision,
        commit_message="Susceptibilities and clusters, by spectro publish",
        delete_patterns=f"*/{PARTS}",
    )
    return str(made.commit_url)
