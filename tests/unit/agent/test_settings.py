"""Settings from the environment."""

from pathlib import Path

import pytest

from hauberk.agent.settings import AgentSettings, SettingInvalid, read_settings


def test_without_variables_the_defaults_hold() -> None:
    assert read_settings({}) == AgentSettings()


def test_a_variable_is_read_as_what_its_setting_is() -> None:
    found = read_settings({"HAUBERK_AGENT_LOG_FILES": "5", "HAUBERK_AGENT_DRAIN_SECONDS": "0.5", "HAUBERK_AGENT_RESOLV_CONF": "/x"})
    assert (found.log_files, found.drain_seconds, found.resolv_conf) == (5, 0.5, Path("/x"))


def test_nonsense_names_the_variable() -> None:
    with pytest.raises(SettingInvalid, match="HAUBERK_AGENT_LOG_FILES"):
        read_settings({"HAUBERK_AGENT_LOG_FILES": "many"})
