from .execute import StudyOutcome
from .studies import report, report_study, run_demo, run_study, study_overview, watched
from .study_files import read_study, shipped_studies

__all__ = [
    "StudyOutcome",
    "read_study",
    "report",
    "report_study",
    "run_demo",
    "run_study",
    "shipped_studies",
    "study_overview",
    "watched",
]
