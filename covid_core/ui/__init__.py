"""What the pages of the app share. The only room that imports streamlit."""

from covid_core.ui.dataset_page import explore
from covid_core.ui.dataset_source import choose_collection
from covid_core.ui.models import (
    choose_bundle,
    evaluation_of,
    key_figures,
    predictor_of,
)
from covid_core.ui.page import PAGES, chart, link, page, plain, problem, static_table
from covid_core.ui.post_test import meaning
from covid_core.ui.report_page import choose_chapter, record_of, report_chapter, report_head
from covid_core.ui.result import read_films, reading, refusal, repairs, similar_films
from covid_core.ui.result_downloads import downloads_of_all, downloads_of_one
from covid_core.ui.session import forget_uploads
from covid_core.ui.uploads import choose_film, uploaded_films
from covid_core.ui.viewer import film_viewer

__all__ = [
    "PAGES",
    "chart",
    "choose_bundle",
    "choose_chapter",
    "choose_collection",
    "choose_film",
    "downloads_of_all",
    "downloads_of_one",
    "evaluation_of",
    "explore",
    "film_viewer",
    "forget_uploads",
    "key_figures",
    "link",
    "meaning",
    "page",
    "plain",
    "predictor_of",
    "problem",
    "read_films",
    "reading",
    "record_of",
    "refusal",
    "repairs",
    "report_chapter",
    "report_head",
    "similar_films",
    "static_table",
    "uploaded_films",
]
