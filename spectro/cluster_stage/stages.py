"""The stages of clustering: kNN lists, clusters."""

from __future__ import annotations

from spectro.cluster_stage.units import (
    ClusterUnit,
    NeighboursUnit,
    PairUnit,
    RecallUnit,
    TransformUnit,
    clusters_of_run,
)
from spectro.formats.object_kinds import CLUSTERS as FOLDERS
from spectro.work.stage import Goal, ObjectKind, Stage

VERIFICATION = "spectro.cluster_stage.verification"

NEIGHBOURS = Stage(
    name="neighbours",
    goal=Goal.CLUSTER,
    run={
        TransformUnit: "spectro.cluster_stage.fitting:make_transform",
        PairUnit: "spectro.cluster_stage.knn:make_pair",
        NeighboursUnit: "spectro.cluster_stage.knn:make_lists",
        RecallUnit: "spectro.cluster_stage.knn:measure_recall",
    },
    objects=(
        ObjectKind(
            name="lists",
            check=f"{VERIFICATION}:check_lists",
            remedy=f"{VERIFICATION}:remedy_of_lists",
            may_vanish=True,
            is_huge=True,
        ),
    ),
    completed_by=r"neighbours/[^/]+/transform\.json",
    leftovers="spectro.cluster_stage.leftovers:leftovers_of_lists",
)
CLUSTERS = Stage(
    name="clusters",
    goal=Goal.CLUSTER,
    run={ClusterUnit: "spectro.cluster_stage.find:find_and_write_clusters"},
    units=clusters_of_run,
    objects=(
        ObjectKind(
            name="clusters",
            read_marker=f"{VERIFICATION}:tables_of_clusters",
            check=f"{VERIFICATION}:check_clusters",
            compare=f"{VERIFICATION}:compare_clusters",
            remedy=f"{VERIFICATION}:remedy_of_clusters",
        ),
        ObjectKind(
            name="assigned",
            read_marker=f"{VERIFICATION}:table_of_assigned",
            check=f"{VERIFICATION}:check_assigned",
            damaged="delete it and what has its name beside it; spectro assign makes both again",
            missing="spectro assign makes it again, or delete the .json that names it",
        ),
        ObjectKind(
            name="names",
            read_marker=f"{VERIFICATION}:table_of_names",
            damaged="delete it; spectro names makes names again, or reads them from a file again",
            missing="delete the names.json beside it; spectro names makes both again",
        ),
    ),
    completed_by=rf"{FOLDERS}/cluster\.json",
    leftovers="spectro.cluster_stage.leftovers:leftovers_of_clusters",
)
STAGES = (NEIGHBOURS, CLUSTERS)
