"""Figures within hospital groups, held against scikit-learn group by group and against counts by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference

from covid_core.evaluation.hospitals import called_block, hospital_block, size_alone

SIZES = {"S00": [(2000, 2400), (2500, 2400)], "S01": [(3000, 3000), (2800, 2400)], "S03": [(1800, 2100), (2000, 2400)]}


def made_up(seed: int = 0, per_site: int = 40) -> pd.DataFrame:
    """Images of three groups: one tells more than the others, and its typical images are larger."""
    rng = np.random.default_rng(seed)
    rows = []
    for site, sizes in SIZES.items():
        for number in range(per_site):
            typical = number % 4 == 0 if site == "S01" else number % 2 == 0
            size = sizes[int(rng.random() < (0.8 if typical else 0.3))]
            score = rng.normal((0.8 if site == "S00" else 0.3) * typical + (0.5 if site == "S01" else 0))
            rows.append(
                {
                    "appearance": "typical" if typical else "negative",
                    "site": site,
                    "group": f"{site}-{number // 2}",
                    "original_width": float(size[0]),
                    "original_height": float(size[1]),
                    "probability_covid": round(1 / (1 + np.exp(-score)), 2),
                }
            )
    return pd.DataFrame(rows)


def within(table: pd.DataFrame, keys: list[str], score: str = "probability_covid") -> float:
    """Scikit-learn's AUC of each group, weighted by its pairs of a typical and a negative image."""
    areas, pairs = [], []
    for _, images in table.groupby(keys):
        typical = images["appearance"] == "typical"
        if typical.any() and not typical.all():
            areas.append(reference.roc_auc_score(typical, images[score]))
            pairs.append(typical.sum() * (~typical).sum())
    return float(np.average(areas, weights=pairs))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return made_up()


@pytest.fixture(scope="module")
def block(table: pd.DataFrame) -> dict:
    return hospital_block(table, 0.55)


def test_each_group_has_its_own_figures(block: dict, table: pd.DataFrame) -> None:
    for one in block["groups"]:
        images = table[table["site"] == one["site"]]
        typical, called = images["appearance"] == "typical", images["probability_covid"] >= 0.55
        assert one["roc_auc"]["value"] == pytest.approx(reference.roc_auc_score(typical, images["probability_covid"]))
        assert one["sensitivity"]["value"] == pytest.approx(reference.recall_score(typical, called))
        assert one["specificity"]["value"] == pytest.approx(reference.recall_score(~typical, ~called))
        assert one["same_size_auc"]["value"] == pytest.approx(within(images, ["original_width", "original_height"]))


def test_size_alone_does_not_learn_from_the_group_it_judges(table: pd.DataFrame) -> None:
    turned = table.copy()
    here = turned["site"] == "S03"
    turned.loc[here, "appearance"] = turned.loc[here, "appearance"].map({"typical": "negative", "negative": "typical"})
    np.testing.assert_array_equal(size_alone(turned)[here], size_alone(table)[here])
    assert not np.array_equal(size_alone(turned)[~here], size_alone(table)[~here])


def test_images_of_unknown_size_are_judged_and_are_in_no_pair_of_one_size() -> None:
    table = made_up()
    unknown = np.arange(len(table)) % 5 == 0
    table.loc[unknown, ["original_width", "original_height"]] = np.nan
    block = hospital_block(table, 0.5)
    known = table[~unknown]
    assert block["roc_auc"]["value"] == pytest.approx(within(table, ["site"]))
    assert block["same_size_auc"]["value"] == pytest.approx(
        within(known, ["site", "original_width", "original_height"])
    )
    assert np.isfinite(size_alone(table)).all()


def test_another_model_is_judged_at_its_own_threshold_on_the_same_images(table: pd.DataFrame) -> None:
    rng = np.random.default_rng(9)
    former = np.round(rng.random(len(table)), 2)
    block = hospital_block(table.assign(former=former, former_threshold=0.3), 0.55)
    typical = table["appearance"] == "typical"
    assert block["former"]["roc_auc"]["value"] == pytest.approx(within(table.assign(former=former), ["site"], "former"))
    assert block["former"]["sensitivity"]["value"] == pytest.approx(reference.recall_score(typical, former >= 0.3))
    assert "former" not in hospital_block(table, 0.55)


def wilson(successes: int, n: int) -> tuple[float, float]:
    """E. B. Wilson 1927, with z of 95%."""
    z, share = 1.959963985, successes / n
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return ((share + z**2 / (2 * n) - half) / (1 + z**2 / n), (share + z**2 / (2 * n) + half) / (1 + z**2 / n))


def strangers() -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "kind": ["tuberculosis"] * 4 + ["children, normal"] * 3,
            "probability_covid": [0.2, 0.6, 0.5, 0.9, 0.1, 0.7, 0.3],
        }
    )
    return table.sample(frac=1, random_state=1)


def test_calls_of_each_kind_are_counted_by_hand_with_wilsons_interval() -> None:
    children, tuberculosis = called_block(strangers(), 0.5)
    assert (children["kind"], children["images"]) == ("children, normal", 3)
    assert (tuberculosis["kind"], tuberculosis["images"]) == ("tuberculosis", 4)
    assert tuberculosis["called_covid"]["value"] == 3 / 4
    assert (tuberculosis["called_covid"]["lower"], tuberculosis["called_covid"]["upper"]) == pytest.approx(wilson(3, 4))
    assert children["called_covid"]["value"] == pytest.approx(1 / 3)
    assert "former" not in tuberculosis


def test_the_block_counts_and_compares_images_within_a_group_and_a_size(block: dict, table: pd.DataFrame) -> None:
    sized = within(table, ["site", "original_width", "original_height"])
    pooled = reference.roc_auc_score(table["appearance"] == "typical", table["probability_covid"])
    assert (block["images"], block["patients"], block["covid"]) == (120, 60, 20 + 10 + 20)
    assert [(one["site"], one["images"], one["covid"]) for one in block["groups"]] == [
        *(("S00", 40, 20), ("S01", 40, 10), ("S03", 40, 20))
    ]
    assert block["roc_auc"]["value"] == pytest.approx(within(table, ["site"]))
    assert block["roc_auc"]["lower"] < block["roc_auc"]["value"] < block["roc_auc"]["upper"]
    assert block["same_size_auc"]["value"] == pytest.approx(sized)
    assert block["pooled_auc"] == pytest.approx(pooled)
    json.dumps([block, hospital_block(made_up(per_site=3), 0.5)], allow_nan=False)
