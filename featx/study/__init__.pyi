from .demo import run_demo
from .execute import Outcome, execute
from .reports import report_runs_or_study, report_study, watched
from .run import run_study, study_overview
from .studyfile import read_study, shipped_studies

__all__ = [
    "Outcome",
    "execute",
    "read_study",
    "report_runs_or_study",
    "report_study",
    "run_demo",
    "run_study",
    "shipped_studies",
    "study_overview",
    "watched",
]
