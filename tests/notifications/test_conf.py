"""The engine's settings: a project that names none of them gets defaults, and this one names the same."""

from typing import Any

import pytest

from notifications import conf
from notifications.conf import settings as engine


@pytest.mark.parametrize("name", conf.defaults())
def test_a_setting_that_the_project_does_not_have_has_a_default(name: str, settings: Any):
    delattr(settings, name)
    assert getattr(engine, name) == conf.defaults()[name]


@pytest.mark.parametrize("name", conf.defaults())
def test_the_project_of_this_repository_has_the_same_default(name: str, settings: Any):
    assert getattr(settings, name) == conf.defaults()[name]


def test_a_setting_of_the_project_counts(settings: Any):
    settings.MAX_SOCKETS = 7
    assert engine.MAX_SOCKETS == 7
