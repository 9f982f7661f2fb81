"""What the pages of the app share. The only room that imports streamlit."""

from covid_core.ui.bundles import (
    card_of,
    choose_bundle,
    download,
    evaluation_of,
    history_of,
    key_figures,
    predictor_of,
)
from covid_core.ui.collection import choose_table, flow_table, images_table
from covid_core.ui.frame import FILM, PAGES, chart, link, page, plain, problem, static_table
from covid_core.ui.session import forget_uploads
from covid_core.ui.uploads import choose_film, film_of, predict_uploads, results_table

__all__ = [
    "FILM",
    "PAGES",
    "card_of",
    "chart",
    "choose_bundle",
    "choose_film",
    "choose_table",
    "download",
    "evaluation_of",
    "film_of",
    "flow_table",
    "forget_uploads",
    "history_of",
    "images_table",
    "key_figures",
    "link",
    "page",
    "plain",
    "predict_uploads",
    "predictor_of",
    "problem",
    "results_table",
    "static_table",
]
