"""Approximate personalised PageRank by pushing mass from a seed.

Source: Andersen, Chung & Lang 2006 (ACL), on a weighted graph. With the lazy walk W = (I + A D⁻¹) /
2 the exact vector solves

    pr = α e_seed + (1 − α) W pr                                  (α as published: lazy)

and equals the fixed point of the plain walk A D⁻¹ with β = 2α / (1 + α). The push uses the
plain walk: no mass returns to the node just pushed, which halves the work for the same vector.
Invariant: pr = p + Σ_u r(u) pr_u, with 0 ≤ r(u) < ε · degree(u) at the end, hence
0 ≤ pr(u) − p(u) < ε · degree(u) for all u.

Cost: a push at u moves β r(u) ≥ β ε degree(u) into p, whose sum is at most 1, so the pushes
cover a volume of at most 1 / (β ε). Mass spread evenly over a volume 1/ε is below the tolerance
everywhere: that is how far a seed reaches. When 1/ε exceeds the volume of the graph the push is
a power iteration on the whole graph, 1/β sweeps long, from every seed.
"""

from numba import njit

from spectro.clustering.local.workspace import LocalArrays, LocalCsr, copy_row, reset, touch


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def push(
    csr: LocalCsr, local: LocalArrays, seed: int, alpha: float, epsilon: float, max_pushes: int
) -> tuple[int, int, int, bool]:
    """Push from `seed` until r < ε · degree everywhere, or `max_pushes`; a FIFO queue.

    The queue has turns: what one turn enqueues, the next pushes. Crossing r / degree = ε upwards
    enqueues a node. Mass that enters a removed node is lost. An isolated seed keeps its mass.
    Leaves score = p / degree and mass[:, 0] = r / degree of the touched slots, in order of touch.
    Returns (slots, pushes, edges visited, complete). Not complete: a row did not fit and the
    workspace, left clean, must grow; slots and edges are then the least sizes needed.
    """
    beta = 2.0 * alpha / (1.0 + alpha)
    mass, queue = local.mass, local.queue
    touch(csr, local, seed, 0)
    if csr.degrees[seed] <= 0.0:
        local.score[0] = 1.0
        return 1, 0, 0, True
    mass[0, 0] = mass[0, 1]
    queue[0, 0] = 0
    num_slots, num_entries, num_pushes, num_edges = 1, 0, 0, 0
    turn, num_waiting = 0, 1
    while num_waiting > 0 and num_pushes < max_pushes:
        num_next = 0
        for position in range(min(num_waiting, max_pushes - num_pushes)):
            slot = queue[turn, position]
            if local.start[slot] < 0:
                node = local.node[slot]
                length = csr.indptr[node + 1] - csr.indptr[node]
                room = min(num_slots + length, local.slot_of.size)
                if room > local.node.size or num_entries + length > local.entry_slot.size:
                    reset(local, num_slots)
                    return room, num_pushes, num_entries + length, False
                num_slots = copy_row(csr, local, slot, num_slots, num_entries)
                num_entries = local.end[slot]
            here = mass[slot, 0]
            mass[slot, 0] = 0.0
            local.score[slot] += beta * here
            share = (1.0 - beta) * here
            for entry in range(local.start[slot], local.end[slot]):
                neighbour = local.entry_slot[entry]
                before = mass[neighbour, 0]
                after = before + share * local.entry_weight[entry] * mass[neighbour, 1]
                mass[neighbour, 0] = after
                # Branch-free: crossings are unpredictable. The next entry overwrites.
                queue[1 - turn, num_next] = neighbour
                num_next += int(after >= epsilon) & int(before < epsilon)
            num_pushes += 1
            num_edges += local.end[slot] - local.start[slot]
        turn = 1 - turn
        num_waiting = num_next
    return num_slots, num_pushes, num_edges, True
