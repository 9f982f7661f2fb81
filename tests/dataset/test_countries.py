from pathlib import Path

import pandas as pd
import pytest

from covid_core.dataset.countries import COUNTRIES, country_name, country_of


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("Humanitas Clinical and Research Hospital, Rozzano, Milan, Italy", "IT"),
        ("Ospedale Santo Spirito. Rome, Italy", "IT"),
        ("  ITALY ", "IT"),
        ("Wuhan", "CN"),
        ("Wuhan China", "CN"),
        ("Hong Kong", "HK"),
        ("Prince of Wales Hospital, Chinese University of Hong Kong, China", "HK"),
        ("Macao, China", "MO"),
        ("London, United Kingdom", "GB"),
        ("London, Ontario", "CA"),
        ("Paris, Texas", "US"),
        ("Albuquerque New Mexico", "US"),
        ("Augusta, Georgia, United States", "US"),
        ("Tbilisi, Georgia", "GE"),
        ("Atlanta, Georgia", "US"),
        ("Los Angeles, CA", "US"),
        ("Toronto, ON", "CA"),
        ("Bogota, CO", "CO"),
        ("U.S.A.", "US"),
        ("Seoul, Republic of Korea", "KR"),
        ("Abidjan, Côte d\u2019Ivoire", "CI"),
        ("Perú", "PE"),
        ("Sydney; New South Wales", "AU"),
        ("Conakry, Guinea", "GN"),
        ("Port Moresby, Papua New Guinea", "PG"),
    ],
)
def test_a_country_follows_from_its_name_or_by_a_place_in_it(location: str, code: str) -> None:
    assert country_of(location) == code


@pytest.mark.parametrize(
    "location",
    [
        "",
        "somewhere",
        "Georgia",
        "RIPAS Hospital, Brunei, New Zealand",
        "Prince of Wales",
        "China Medical Board",
        "Birmingham",
        "Athens, Georgia",
        "Paris, TX",
        "Milano, MI",
        "Perth, WA",
        "Springfield, NH",
        "Vienna, VA",
        "Springfield, IL",
        "Peru, Indiana",
        "Lebanon, NH",
        "CA",
        "Italy" * 200_000,
        "\0<b>,;/|((((\ud800",
    ],
)
def test_no_country_rather_than_a_wrong_one(location: str) -> None:
    assert country_of(location) is None


def test_every_country_has_a_code_a_name_and_a_place_on_the_globe() -> None:
    assert all(len(code) == 2 and code.isupper() and code == one.code for code, one in COUNTRIES.items())
    assert len({one.name for one in COUNTRIES.values()}) == len(COUNTRIES)
    assert all(abs(one.latitude) <= 90 and abs(one.longitude) <= 180 for one in COUNTRIES.values())
    assert (country_name("IT"), country_name("ZZ")) == ("Italy", "ZZ")
    assert all(country_of(one.name) == code for code, one in COUNTRIES.items() if code != "GE")


def test_the_country_at_the_end_of_a_real_location_is_the_one_found(real_dataset: Path) -> None:
    locations = pd.read_csv(real_dataset / "metadata.csv")["location"].dropna()
    found = {place: country_of(place) for place in locations.unique()}
    assert [place for place, code in found.items() if code is None] == ["RIPAS Hospital, Brunei, New Zealand"]
    for name, code in {"Italy": "IT", "Spain": "ES", "United States": "US"}.items():
        rows = locations[locations.str.strip().str.endswith(name)]
        assert set(rows.map(found)) == {code}
        assert int((locations.map(found) == code).sum()) == len(rows)
