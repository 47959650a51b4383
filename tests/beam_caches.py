"""Caches of Beam's answers that are equal for every pipeline: a third of a small job's time.

For each pipeline Beam inspects the methods of the same classes hundreds of times, and parses the
same options for each of its transforms.
"""

import copy
from types import MethodType

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core


def keep_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes Beam inspect each method, and parse the same options for one class, once."""
    signatures, parsed = {}, {}
    get_signature, initialize = core.get_signature, PipelineOptions.__init__

    def get_kept_signature(function):
        if not isinstance(function, MethodType):
            return get_signature(function)
        if function.__func__ not in signatures:
            signatures[function.__func__] = get_signature(function)
        return signatures[function.__func__]

    def initialize_as_before(options, flags=None, **overrides):
        key = (type(options), None if flags is None else tuple(flags))
        if flags is None or overrides or type(options) is PipelineOptions:
            initialize(options, flags, **overrides)
            return
        if key not in parsed:
            initialize(options, flags)
            parsed[key] = options._visible_options
        options._flags = flags
        options._visible_options = copy.deepcopy(parsed[key])
        options._all_options = dict(vars(options._visible_options))

    monkeypatch.setattr(core, "get_signature", get_kept_signature)
    monkeypatch.setattr(PipelineOptions, "__init__", initialize_as_before)
