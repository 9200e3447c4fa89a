from .cluster_options import ClusterOptions
from .job_state import KINDS, State, StudyJob, is_running, last_line, locked, read_state, slug
from .on_cluster import verb_on_cluster
from .places import Place, given_executor, open_place
from .scheduler import Scheduler

__all__ = [
    "KINDS",
    "ClusterOptions",
    "Place",
    "Scheduler",
    "State",
    "StudyJob",
    "given_executor",
    "is_running",
    "last_line",
    "locked",
    "open_place",
    "read_state",
    "slug",
    "verb_on_cluster",
]
