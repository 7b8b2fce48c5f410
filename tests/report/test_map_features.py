"""Features of an autoencoder on cards and in the search of the map (ADR 102)."""

import dataclasses

import made_map
import numpy as np

NUM_CLUSTERS = 10


def featured_map():
    """Cluster c has the features c and 7; the last has none."""
    base = made_map.made_map(3000, NUM_CLUSTERS)
    features = np.full((NUM_CLUSTERS, 3), -1, np.int32)
    features[:-1, 0] = 100 + np.arange(NUM_CLUSTERS - 1)
    features[:-1, 1] = 7
    score = np.where(features >= 0, np.float32(0.61), np.float32(0))
    columns = {f"feature_{name}": score.astype(np.float32) for name in ("f1", "precision", "auc")}
    columns["feature_level"] = np.where(features == 7, np.float32(0.25), np.float32(1))
    columns["feature_recall"] = (score * 0 + 0.25).astype(np.float32)
    return {
        "clusters": dataclasses.replace(base.clusters, features=features, **columns),
        "autoencoder": {"title": "SAELens topk <b>of</b> x", "threshold": 0.5},
    }


def test_features_are_on_the_card_and_found_by_their_number(opened, tmp_path):
    page = opened(3000, NUM_CLUSTERS, **featured_map())
    page.change(open=3, panel="card")
    card = page.text("#card").replace("\n", " ")
    assert "feature 7, strongest 25 %: F1 0.61" in card
    assert "feature 103 F1 0.61, precision 0.61, recall 0.25, AUC 0.61" in card
    assert "SAELens topk <b>of</b> x" in card  # as text, not as markup
    page.shot("features", tmp_path)
    page.type_search("feature:103")
    assert page.js("spectroMap.model.clusters.length") == 1
    page.type_search("feature:#7")
    assert page.js("spectroMap.model.clusters.length") == 9
    page.type_search("feature:55")
    assert page.js("spectroMap.model.clusters.length") == 0
    page.type_search("")
    page.change(open=9, panel="card")
    assert "No feature is active on its tokens." in page.text("#card")


def test_without_a_match_there_is_nothing(opened):
    page = opened(300, 3)
    page.change(open=1, panel="card")
    assert "Features" not in page.text("#card")
    page.type_search("feature:1")
    assert page.js("spectroMap.model.clusters.length") == 0
