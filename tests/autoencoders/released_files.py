"""All variants of files of released autoencoders: name → function that writes them."""

from tests.autoencoders import other_files, saelens_files

VARIANTS = {each.__name__: each for each in (*saelens_files.WRITERS, *other_files.WRITERS)}
