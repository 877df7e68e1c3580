"""Every field of an experiment with the paper's values; the other configs change some of them.

`python main.py fields` lists them, and docs/configuration.md says what each one means. Both come
from hmsa_jax/config/fields.py, where the fields are declared.
"""

from ml_collections import ConfigDict

from hmsa_jax.config import schema


def get_config() -> ConfigDict:
    return schema.base_config()
