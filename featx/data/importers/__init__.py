"""Importers of published data sets, one module each; `featx.data.importers.registry` lists them."""
