from .augment import PRESETS, Ranges, apply_view, halton_views, random_view
from .content import content_keys, earlier_keys
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt_image, corruption_key
from .decode import DECODE_VERSION, FILE_LIMIT, decode_image
from .key_files import read_keys, write_keys
from .prepare import PREPARATIONS, load_image, preparation_key, prepare_image

__all__ = [
    "CORRUPTIONS",
    "DECODE_VERSION",
    "FILE_LIMIT",
    "PREPARATIONS",
    "PRESETS",
    "SEVERITIES",
    "Ranges",
    "apply_view",
    "content_keys",
    "corrupt_image",
    "corruption_key",
    "decode_image",
    "earlier_keys",
    "halton_views",
    "load_image",
    "preparation_key",
    "prepare_image",
    "random_view",
    "read_keys",
    "write_keys",
]
