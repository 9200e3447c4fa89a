from .cluster_options import TLS_CERTIFICATE, TLS_KEY, ClusterOptions
from .hashing import known_keys
from .job_state import KINDS, State, StudyJob, is_running, last_line, locked, read_state, slug
from .machines.places import Place, given_executor, open_place
from .on_cluster import verb_on_cluster
from .scheduler import Scheduler

__all__ = [
    "KINDS",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "ClusterOptions",
    "Place",
    "Scheduler",
    "State",
    "StudyJob",
    "given_executor",
    "is_running",
    "known_keys",
    "last_line",
    "locked",
    "open_place",
    "read_state",
    "slug",
    "verb_on_cluster",
]
