"""A published folder to a dataset repository of the Hugging Face hub, in one commit."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spectro.extras import optional_imports
from spectro.views.publish.config import EditedCard
from spectro.views.publish.earlier import CARD, EarlierPublication, earlier_publication
from spectro.views.publish.folder import files_in

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_PLACE = re.compile(r"hf://datasets/(?P<repository>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?/?")
_CLIENTS = ("httpx", "httpx2")
"""Libraries by which `huggingface_hub` calls; their errors are no OSError."""
_DATASET = "dataset"


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


@dataclass(frozen=True, kw_only=True)
class BranchState:
    """A branch as it was when it was checked."""

    commit: str | None
    """Its last commit; None: there is no repository."""
    has_branch: bool
    """Whether the branch is there; a new one begins as the main one is."""
    names: frozenset[str]
    """Its files."""
    earlier: EarlierPublication
    """What of them is a publication."""


def found_on_hub(repository: Repository, edited_card: EditedCard) -> BranchState:
    """What is to be replaced; nothing is made or changed.

    Credentials are those of `hf auth login` or HF_TOKEN. Raises ValueError, in one line, for a
    repository with files of no published run, or a card that was edited; OSError where the hub
    refuses or cannot be reached.
    """
    with _hub() as api:
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

        def commit_of(revision: str | None) -> str:
            info = api.repo_info(repository.name, repo_type=_DATASET, revision=revision)
            return str(info.sha)

        try:
            commit, has_branch = commit_of(repository.revision), True
        except RepositoryNotFoundError:
            nothing = EarlierPublication(files={}, kept_card=None)
            return BranchState(commit=None, has_branch=False, names=frozenset(), earlier=nothing)
        except RevisionNotFoundError:
            commit, has_branch = commit_of(None), False
        names = api.list_repo_files(repository.name, repo_type=_DATASET, revision=commit)

        def read(name: str) -> bytes:
            with tempfile.TemporaryDirectory() as scratch:
                path = api.hf_hub_download(
                    repository.name, name, repo_type=_DATASET, revision=commit, cache_dir=scratch
                )
                return Path(path).read_bytes()

        where = f"hf://datasets/{repository.name}"
        earlier = earlier_publication(where, names, read, edited_card, keeps_others=True)
    return BranchState(
        commit=commit, has_branch=has_branch, names=frozenset(names), earlier=earlier
    )


def push(folder: Path, repository: Repository, found: BranchState, *, private: bool) -> str:
    """Make the repository or branch if there is none, and replace the earlier publication there.

    Gives the commit's URL. Other files stay. Raises OSError as `found_on_hub`, and where the branch
    has changed since it was checked.
    """
    new = files_in(folder)
    gone = found.names & {*found.earlier.files} - {*new}
    if found.earlier.kept_card is not None:
        del new[CARD]
    with _hub() as api:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        if found.commit is None:
            api.create_repo(repository.name, repo_type=_DATASET, private=private)
        if repository.revision is not None and not found.has_branch:
            api.create_branch(
                repository.name, branch=repository.revision, revision=found.commit,
                repo_type=_DATASET,
            )  # fmt: skip
        made = api.create_commit(
            repository.name,
            [
                *(CommitOperationAdd(name, path) for name, path in new.items()),
                *(CommitOperationDelete(name) for name in sorted(gone)),
            ],
            commit_message="Susceptibilities and clusters, by spectro publish",
            repo_type=_DATASET,
            revision=repository.revision,
            parent_commit=found.commit,
        )
    return str(made.commit_url)


@contextmanager
def _hub() -> Iterator[HfApi]:
    """The hub's client; what its HTTP library raises becomes an OSError of one line."""
    with optional_imports():
        from huggingface_hub import HfApi

    try:
        yield HfApi(library_name="spectro")
    except OSError:
        raise
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _CLIENTS:
            raise
        raise OSError(
            f"the Hugging Face hub did not answer ({type(error).__name__}: {error}): is this "
            "machine connected?"
        ) from error
