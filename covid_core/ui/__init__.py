"""What the pages of the app share. The only subpackage that imports streamlit."""

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
from covid_core.ui.result import read_images, reading, refusal, repairs, similar_images
from covid_core.ui.result_downloads import downloads_of_all, downloads_of_one
from covid_core.ui.session import forget_uploads
from covid_core.ui.uploads import choose_image, uploaded_images
from covid_core.ui.viewer import radiograph_viewer

__all__ = [
    "PAGES",
    "chart",
    "choose_bundle",
    "choose_chapter",
    "choose_collection",
    "choose_image",
    "downloads_of_all",
    "downloads_of_one",
    "evaluation_of",
    "explore",
    "forget_uploads",
    "key_figures",
    "link",
    "meaning",
    "page",
    "plain",
    "predictor_of",
    "problem",
    "radiograph_viewer",
    "read_images",
    "reading",
    "record_of",
    "refusal",
    "repairs",
    "report_chapter",
    "report_head",
    "similar_images",
    "static_table",
    "uploaded_images",
]
