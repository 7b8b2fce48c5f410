"""What the cluster map shows and how it is laid out. Nothing here changes a number of the run."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class MapConfig:
    """Settings of the map's data.

    Raises ValueError if a number is below its least useful value.
    """

    title: str | None = None
    """Heading of the map; None takes the run's own name."""
    max_tokens: int | None = 200_000
    """Tokens drawn, a keyed sample of all; None draws them all."""
    landmarks: int = 20_000
    """Points that UMAP lays out: the centroids of clusters, and tokens up to this number."""
    many_clusters: int = 5_000
    """From so many clusters on, their centroids alone are landmarks."""
    num_neighbours: int = 15
    """Neighbours per landmark in the layout (not in the clustering)."""
    num_regions: int | None = None
    """Regions that are looked for; None: the square root of the number of clusters."""
    num_examples: int = 20
    """Random members per cluster, for its card."""
    num_central: int = 5
    """Members of highest rank per cluster, for its card."""
    control: bool = True
    """Whether the clusters of the nβ = 0 control are mapped too, where there are any."""
    rows_per_file: int = 131_072
    """Tokens in a file of a column: a page shows something after the first."""
    device: str = "cpu"
    """Where distances to landmarks are taken: `cpu` or `cuda`; the same map either way."""
    seed: int = 0
    """Key of the sample, of the layout and of the examples."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no map."""
        least = {"seed": 0, "num_neighbours": 2}
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int) and not isinstance(value, bool)
            if number and value < (low := least.get(field.name, 1)):
                raise ValueError(f"map.{field.name} must be at least {low}, found {value}")
        if self.device.split(":")[0] not in ("cpu", "cuda"):
            raise ValueError(f"map.device must be cpu or cuda[:n], found {self.device!r}")
