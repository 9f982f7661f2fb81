"""The opacity map against boxes, on maps small enough to count by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from covid_core.evaluation.opacity_map import affected_share, choose_threshold, opacity_map_block


def maps(*rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32)


# Three images of 2 x 2 cells.
OPACITIES = maps([[0.9, 0.6], [0.1, 0.2]], [[0.3, 0.8], [0.2, 0.4]], [[0.1, 0.2], [0.3, 0.35]])
BOXES = maps([[1.0, 0.4], [0.0, 0.7]], [[0.0, 1.0], [0.0, 0.9]], [[1.0, 0.0], [0.0, 0.0]])
LUNGS = maps([[1.0, 1.0], [1.0, 1.0]], [[0.5, 1.0], [0.0, 0.5]], [[0.0, 0.0], [1.0, 1.0]])


def test_the_share_of_the_lungs_weighs_cells_by_how_much_lung_they_hold() -> None:
    found = affected_share(OPACITIES, LUNGS, 0.5)
    # First: two of four cells. Second: one cell of 1.0 in a lung of 2.0. Third: none above the threshold.
    assert found.tolist() == pytest.approx([0.5, 0.5, 0.0])
    assert found.dtype == np.float64
    assert affected_share(OPACITIES[1], LUNGS[1], 0.25) == pytest.approx(1.0)


def block(groups: list[str] | None = None, threshold: float = 0.5) -> dict:
    return opacity_map_block(OPACITIES, BOXES, LUNGS, np.array(groups or ["a", "b", "c"]), threshold)


def test_the_pointing_game_counts_the_strongest_cells_that_lie_in_a_box() -> None:
    # The strongest cells: upper left (in a box), upper right (in a box), lower right (in none).
    assert block()["pointing_game"]["value"] == pytest.approx(2 / 3)


def test_the_overlap_is_the_mean_dice_coefficient_by_hand() -> None:
    # Seen and boxed cells: {0, 1} and {0, 3}: 2 * 1 / 4. {1} and {1, 3}: 2 * 1 / 3. {} and {0}: 0.
    assert block()["dice"]["value"] == pytest.approx((0.5 + 2 / 3 + 0) / 3)


def test_the_error_of_the_share_is_the_mean_distance_from_that_of_the_boxes() -> None:
    # By the map 0.5, 0.5, 0; by the boxes 2 of 4, 1.5 of 2, 0 of 2.
    found = block()
    assert found["share_error"]["value"] == pytest.approx((0 + 0.25 + 0) / 3)
    assert found["mean_share"] == pytest.approx(1 / 3)
    assert found["mean_share_in_boxes"] == pytest.approx((0.5 + 0.75 + 0) / 3)


def test_the_cells_are_ranked_as_scikit_learn_ranks_them() -> None:
    assert block()["cell_auc"] == pytest.approx(reference.roc_auc_score(BOXES.ravel() > 0.5, OPACITIES.ravel()))


def test_intervals_hold_the_value_and_come_from_patients() -> None:
    rng = np.random.default_rng(1)
    boxes = (rng.random((60, 4, 4)) > 0.6).astype(np.float32)
    opacities = np.clip(0.15 * boxes + rng.random((60, 4, 4)) * 0.7, 0, 1).astype(np.float32)
    lungs = rng.random((60, 4, 4)).astype(np.float32)
    alone = opacity_map_block(opacities, boxes, lungs, np.arange(60).astype(np.str_), 0.5)
    paired = opacity_map_block(opacities, boxes, lungs, (np.arange(60) // 10).astype(np.str_), 0.5)
    for name in ("dice", "pointing_game", "share_error"):
        for found in (alone, paired):
            assert found[name]["lower"] <= found[name]["value"] <= found[name]["upper"]
            assert found[name]["lower"] < found[name]["upper"]
    assert alone["dice"]["value"] == paired["dice"]["value"]
    f1 = [reference.f1_score(box.ravel() > 0.5, seen.ravel() > 0.5) for box, seen in zip(boxes, opacities, strict=True)]
    assert alone["dice"]["value"] == pytest.approx(np.mean(f1))


def test_the_threshold_has_the_highest_dice_coefficient_over_all_cells() -> None:
    rng = np.random.default_rng(2)
    boxes = (rng.random((40, 4, 4)) > 0.7).astype(np.float32)
    opacities = np.clip(0.35 * boxes + rng.random((40, 4, 4)) * 0.5, 0, 1).astype(np.float32)
    candidates = [round(0.05 * step, 2) for step in range(1, 20)]
    scores = [reference.f1_score(boxes.ravel() > 0.5, opacities.ravel() > one) for one in candidates]
    found = choose_threshold(opacities, boxes)
    assert found == candidates[int(np.argmax(scores))]
    assert max(scores) > scores[0]
