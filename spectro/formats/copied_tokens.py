"""Copies the tokens of one run into another run; the marker last."""

from __future__ import annotations

from spectro.formats.tokens import MARKER, TokensInfo, more_name, read_info
from spectro.storage.store import Store


def copy_tokens(source: Store, target: Store, probe_sha256: str) -> TokensInfo:
    """Copy the token shards and markers of a run.

    Raises ValueError if the source's digest is not `probe_sha256`, DamagedObjectError.
    """
    info = read_info(source)
    require_tokens(source, info, probe_sha256)
    for name, expected in info.objects.items():
        data = source.read(name)
        expected.verify(data, f"{source.uri}/{name}")
        target.put_if_absent(name, data)
    markers = [more_name(number) for number in range(1, len(info.additions) + 1)]
    for name in (*markers, MARKER):
        target.put_if_absent(name, source.read(name))
    return read_info(target)


def require_tokens(source: Store, info: TokensInfo, probe_sha256: str) -> None:
    """Raise ValueError, in one line, unless a run has the expected probe tokens."""
    if info.probe_sha256 != probe_sha256:
        raise ValueError(
            f"{source.uri} has other tokens than when the upsampled run was begun (digest "
            f"{info.probe_sha256[:16]}, expected {probe_sha256[:16]}): were tokens added to it? "
            "Give another upsample.uri to learn from all of them"
        )
