from .execute import StudyOutcome
from .schema import read_study, shipped_studies
from .studies import report, report_study, run_demo, run_study, study_overview, watched

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
