"""Settings of the one-file viewer (`report.*`). Nothing here changes a number of the run."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Settings of the page.

    Raises ValueError if a number is below its least useful value.
    """

    title: str | None = None
    """Heading of the page; None takes the run's own name."""
    max_rows: int = 60_000
    """Clusters in the file, largest first."""
    max_cards: int = 200
    """Clusters that have contexts on their cards, largest first; all of them where the sequences
    of the run fit (4 MB)."""
    max_control_cards: int = 24
    """The same of the nβ = 0 control."""
    contexts_per_cluster: int = 10
    """Random members per card, in their contexts; fewer if the cluster is smaller."""
    num_central: int = 5
    """Members of highest rank per card, in their contexts."""
    tokens_before: int = 32
    """Tokens of context shown before y."""
    tokens_after: int = 10
    """Tokens shown after y."""
    max_points: int = 20_000
    """Tokens drawn on the map, a keyed sample of all."""
    num_neighbours: int = 15
    """Neighbours per token in the map's layout (not in the clustering)."""
    seed: int = 0
    """Key of the random contexts, of the tokens drawn and of the layout."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no page."""
        least = {"seed": 0, "tokens_before": 0, "tokens_after": 0, "max_control_cards": 0}
        least |= {"num_central": 0, "num_neighbours": 2}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < (low := least.get(field.name, 1)):
                raise ValueError(f"report.{field.name} must be at least {low}, found {value}")
