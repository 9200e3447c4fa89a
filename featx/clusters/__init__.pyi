from .certificates import make_certificate
from .cluster_settings import KubernetesSettings, SlurmSettings, TlsSettings
from .scripts import kubernetes_manifest, slurm_script

__all__ = [
    "KubernetesSettings",
    "SlurmSettings",
    "TlsSettings",
    "kubernetes_manifest",
    "make_certificate",
    "slurm_script",
]
