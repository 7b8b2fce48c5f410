"""Features of an autoencoder where a run is looked at: picture, cards, SQL, answers (ADR 102)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from planted_autoencoder import (
    NUM_CLUSTERS,
    NUM_FEATURES,
    NUM_PLANTED,
    NUM_TOKENS,
    Planted,
    encoded,
)

from spectro.autoencoders.config import MatchConfig
from spectro.formats.clusters.clusters import PROVENANCE
from spectro.storage.checksummed_json import read_sealed, seal
from spectro.storage.store import Store
from spectro.tokens.display.context_text import Vocabulary
from spectro.views.autoencoder.match import match_clusters
from spectro.views.autoencoder.stored import StoredMatch, stored_match
from spectro.views.figures.clusters import card_data
from spectro.views.map.features import features_json, features_shown
from spectro.views.query.config import Window
from spectro.views.query.lookups import of_cluster, of_token
from spectro.views.query.query import Query
from spectro.views.run_view import RunView

Job = Callable[..., int]


def test_the_picture_and_what_cards_show(
    copied: Planted, job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    view = RunView(str(copied.run))
    assert features_shown(stored_match(view)) == {}
    assert features_json(stored_match(view)) is None
    assert job("figure", str(copied.run), "kind=sae", "out=sae.svg") == 2
    assert "has not been matched to an autoencoder" in capsys.readouterr().err
    match_clusters(view, encoded(copied), MatchConfig(num_features=3))
    assert job("figure", str(copied.run), "kind=sae", "out=sae.svg") == 0
    svg = Path("sae.svg").read_text()
    assert "12 of 24 clusters have a feature" in svg.replace("\n", " ")
    columns = features_shown(stored_match(view))
    assert columns["features"].shape == (NUM_CLUSTERS, 5)
    assert columns["features"][:NUM_PLANTED, 0].tolist() == list(range(NUM_PLANTED))
    assert (columns["features"][:, 3:] == -1).all()
    assert (columns["feature_recall"][:NUM_PLANTED, 0] > 0.9).all()
    assert stored_match(view, "resid_post") is not None
    with pytest.raises(ValueError, match="no match with 'mlp', expected one of: features-"):
        stored_match(view, "mlp")


def test_features_are_asked_in_sql(copied: Planted) -> None:
    """Every element of the lists is a row, of all matches; without a match there is no table."""
    view, control = RunView(str(copied.run)), RunView(str(copied.run / "control"))
    with Query(view) as query:
        assert not any("features" in name for name in query.tables)
    encoding = encoded(copied)
    found = match_clusters(view, encoding, MatchConfig())
    more = match_clusters(view, encoding, MatchConfig(num_features=1, max_q=1e-6))
    of_control = match_clusters(control, encoding, MatchConfig(num_features=2))
    assert found.content["num_beyond_y"] > more.content["num_beyond_y"]
    with Query(view) as query:
        rows = query.table("from features").to_pylist()
        features = query.table("from all_features").to_pylist()
        unmatched = query.table(
            "from clusters anti join (from features where f1 >= 0.5) using (cluster_id)"
        )
        num_control = query.table("select count(*) as n from control_features").to_pylist()
        assert query.table("from control_all_features").num_rows == NUM_FEATURES
    expected = [
        {"cluster_id": own["cluster_id"], "place": place + 1, "feature": own["features"][place]}
        | {name: own[name][place] for name in SCORES}
        | {name: own[name] for name in ("null_f1", "q_value", "y_f1", "cell_f1")}
        | of_match(match)
        for match in (found, more)  # that with most matched clusters first
        for own in match.by_cluster.to_pylist()
        for place in range(len(own["features"]))
    ]
    assert rows == expected
    assert features == [
        own | of_match(match) | {"cluster_id": None if own["cluster_id"] < 0 else own["cluster_id"]}
        for match in (found, more)
        for own in match.by_feature.to_pylist()
    ]
    assert unmatched["cluster_id"].to_pylist() == list(range(NUM_PLANTED, NUM_CLUSTERS))
    assert num_control == [{"n": sum(map(len, of_control.by_cluster["features"].to_pylist()))}]


SCORES = ("level", "f1", "precision", "recall", "auc", "num_active")


def of_match(match: StoredMatch) -> dict[str, str]:
    return {
        "match": match.stem.removeprefix("features-"),
        "autoencoder": "SAELens jumprelu of embedded",
        "hook": "blocks.2.hook_resid_post",
        "read_at": "target",
    }


def test_a_token_a_cluster_and_a_card_say_their_features(copied: Planted) -> None:
    view, known = RunView(str(copied.run)), Vocabulary(pieces=None)
    assert card_data(view, 1, 2, 0, known).features_of == ""
    token = int(view.clusters.members["token_id"][0].as_py())
    with Query(view) as query:
        assert not any("features" in note for note in of_cluster(query, 0, Window()).notes)
        assert not any("features" in note for note in of_token(query, token, Window()).notes)
    found = match_clusters(view, encoded(copied), MatchConfig())
    own = found.by_cluster.to_pylist()[0]
    said = (
        f"best features of cluster 0 ({found.title}): 0"
        f"{'' if own['level'][0] == 1 else ', top ' + format(own['level'][0], '.0%')} "
        f"(F1 {own['f1'][0]:.2f}, AUC {own['auc'][0]:.2f}); "
    )
    with Query(view) as query:
        for notes in (of_cluster(query, 0, Window()).notes, of_token(query, token, Window()).notes):
            (note,) = [note for note in notes if "features" in note]
            assert note.startswith(said)
        loose = next(t for t in range(NUM_TOKENS) if t not in set(map(int, clustered(view))))
        assert not any("features" in note for note in of_token(query, loose, Window()).notes)
    card = card_data(view, 0, 2, 0, known)
    assert card.features_of == found.title and len(card.features) == 3
    assert [feature[1:] for feature in card.features] == list(
        zip(own["f1"][:3], own["auc"][:3], strict=True)
    )


def clustered(view: RunView) -> NDArray[np.int64]:
    return np.asarray(view.clusters.members["token_id"])


def test_features_of_other_clusters_are_not_shown(copied: Planted) -> None:
    match_clusters(RunView(str(copied.run)), encoded(copied), MatchConfig())
    folder = Store(str(copied.run / "clusters"))
    provenance = read_sealed(folder, PROVENANCE)
    folder.delete(PROVENANCE)
    folder.put(PROVENANCE, seal({**provenance, "made": "again"}))
    view = RunView(str(copied.run))
    assert stored_match(view) is None
    with Query(view) as query:
        assert "features" not in query.tables
