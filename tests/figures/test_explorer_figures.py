import json

import pandas as pd
import plotly.graph_objects as go
import pytest

from covid_core.dataset.filters import with_choices
from covid_core.dataset.metadata import read_metadata
from covid_core.dataset.summaries import (
    age_sex_pyramid,
    days_since_onset,
    finding_hierarchy,
    images_by_country,
    images_per_patient,
    missingness,
    outcomes,
)
from covid_core.figures import explorer
from covid_core.figures.theme import CLASS_COLOURS
from tests.figures.inspection import assert_it_suits_every_page, texts, trace

TABLE = b"""\
patientid,sex,age,offset,survival,finding,view,modality,filename,location
1,M,39,0,Y,Pneumonia/Viral/COVID-19,PA,X-ray,a.png,"Milan, Italy"
1,M,40,6,,Pneumonia/Viral/COVID-19,PA,X-ray,b.png,"Milan, Italy"
2,F,95,-4,N,Pneumonia/<b>Odd</b>,PA,X-ray,c.png,"Wuhan, China"
3,,,,,todo,PA,X-ray,d.png,
"""


def drawn(rows: int = 4) -> dict[str, go.Figure]:
    table = with_choices(read_metadata(TABLE)).iloc[:rows]
    return {
        "treemap": explorer.finding_treemap(finding_hierarchy(table)),
        "pyramid": explorer.pyramid(age_sex_pyramid(table)),
        "per patient": explorer.columns(
            images_per_patient(table).to_frame("patients"), "Images of a patient", "patients"
        ),
        "days": explorer.columns(days_since_onset(table), "Days since onset", "images"),
        "answers": explorer.answers(outcomes(table)),
        "missing": explorer.missing_map(missingness(table, table)),
        "countries": explorer.country_map(images_by_country(table)),
    }


@pytest.mark.parametrize("rows", [0, 4])
@pytest.mark.parametrize("name", [name for name in drawn() if name != "treemap"])
def test_a_figure_leaves_background_and_text_colour_to_the_page_and_names_its_axes(name: str, rows: int) -> None:
    assert_it_suits_every_page(drawn(rows)[name])


@pytest.mark.parametrize("name", drawn())
def test_no_figure_asks_for_a_file_from_elsewhere(name: str) -> None:
    content = drawn()[name].to_json()
    assert "geo" not in content and "map" not in {one["type"] for one in json.loads(content)["data"]}
    assert "http" not in content


def test_areas_of_findings_add_up_and_have_the_colour_of_their_class() -> None:
    (tree,) = drawn()["treemap"].data
    areas = dict(zip(tree.ids, zip(tree.parents, tree.values, tree.marker.colors, strict=True), strict=True))
    assert areas["every finding"][:2] == ("", 4)
    assert areas["every finding/Pneumonia"][:2] == ("every finding", 3)
    assert areas["every finding/Pneumonia/Viral/COVID-19"][1:] == (2, CLASS_COLOURS["covid"])
    assert areas["every finding/Pneumonia"][2] not in CLASS_COLOURS.values()


def test_a_finding_is_never_read_as_html() -> None:
    (tree,) = drawn()["treemap"].data
    assert not [label for label in tree.labels if "<b>" in label]


def test_women_stand_to_the_left_of_men() -> None:
    women, men = trace(drawn()["pyramid"], "women"), trace(drawn()["pyramid"], "men")
    assert (sum(women.x), sum(men.x)) == (-1, 1)
    assert (women.name, men.name) == ("women (n = 1)", "men (n = 1)")


def test_columns_are_made_of_the_classes_with_their_sum_above() -> None:
    days = drawn()["days"]
    assert list(trace(days, "COVID-19").y) == [0, 1, 1, 0, 0, 0, 0, 0]
    assert texts(days) == ["1", "1", "1", "0", "0", "0", "0", "1"]


def test_shares_not_given_are_of_their_own_group() -> None:
    (heat,) = drawn()["missing"].data
    age = list(drawn()["missing"].layout.yaxis.ticktext).index("age")
    assert list(heat.z[age]) == [25, 0, 0, 100]


def test_a_country_stands_at_its_place_and_its_name_covers_no_other() -> None:
    _, circles = drawn()["countries"].data
    assert list(zip(circles.x, circles.y, circles.text, strict=True)) == [(12, 43, "Italy"), (105, 35, "China")]
    near = pd.DataFrame(
        {
            "name": ["Italy", "Austria"],
            "latitude": [43.0, 47.0],
            "longitude": [12.0, 14.0],
            "images": [2, 1],
            "patients": [1, 1],
        }
    )
    assert list(explorer.country_map(near).data[-1].text) == ["Italy", ""]
