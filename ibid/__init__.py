"""The ground of Ibid: types, errors, settings, tables, named queries, ports and their adapters."""

__version__ = "0.1.0"
