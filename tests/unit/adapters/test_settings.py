"""Settings are read once, from a mapping, and every fault is said at the same time."""

import pickle
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpucloud_adapters.settings import (
    VARIABLES,
    Secret,
    Settings,
    SettingsInvalid,
    UpSettings,
    database_url,
    reference,
)

COMPLETE: Final = {
    "DATABASE_URL": "postgresql://gpucloud:pw-in-the-url@db.internal/gpucloud",
    "REDIS_URL": "redis://:other-pw@127.0.0.1:6379/0",
    "STRIPE_SECRET_KEY": "sk_test_51",
    "STRIPE_WEBHOOK_SECRET": "whsec_51",
    "GPUCLOUD_HOME": "/srv/gpucloud",
}


def faults(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        Settings.of(environment)
    return "\n".join(caught.value.faults)


class TestSettings:
    def test_are_what_the_mapping_says(self) -> None:
        settings = Settings.of(COMPLETE | {"GPUCLOUD_PORT": "9000", "PATH": "/bin"})

        assert settings.database_url.reveal() == COMPLETE["DATABASE_URL"]
        assert settings.home == Path("/srv/gpucloud")
        assert (settings.host, settings.port) == ("127.0.0.1", 9000)
        assert settings.public_url == "http://127.0.0.1:9000"
        assert settings.stripe_api_base is None
        assert settings.simulated is False

    def test_name_everything_that_is_missing_at_once(self) -> None:
        said = faults({})

        for name in ("DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"):
            assert f"Set {name}" in said

    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("GPUCLOUD_PROT", "8000", "GPUCLOUD_PROT is not a setting"),
            ("GPUCLOUD_PORT", "http", "a number from 1 to 65535"),
            ("GPUCLOUD_PORT", "65536", "a number from 1 to 65535"),
            ("GPUCLOUD_HOST", "0.0.0.0", "not loopback"),  # noqa: S104  the refusal is the point
            ("GPUCLOUD_HOST", "192.0.2.7", "not loopback"),
            ("GPUCLOUD_PUBLIC_URL", "http://gpus.example.org", "begins with https://"),
            ("GPUCLOUD_PUBLIC_URL", "https://gpus.example.org/app", "is an origin"),
            ("GPUCLOUD_PUBLIC_URL", "http://[::1", "is an origin"),
            ("GPUCLOUD_SIMULATED", "perhaps", "is 1 or 0"),
            ("GPUCLOUD_HOME", "data", "an absolute path"),
            ("DATABASE_URL", "mysql://db", "begins with postgresql://"),
            ("REDIS_URL", "redis://", "names a host"),
            ("STRIPE_API_BASE", "localhost:12111", "begins with http://"),
        ],
    )
    def test_say_what_is_wrong(self, name: str, value: str, words: str) -> None:
        said = faults(COMPLETE | {name: value})

        assert words in said
        assert len(said.splitlines()) == 1

    def test_never_sell_simulated_hardware_for_real_money(self) -> None:
        live = COMPLETE | {"STRIPE_SECRET_KEY": "sk_live_51", "GPUCLOUD_SIMULATED": "1"}

        assert "live key" in faults(live)
        assert Settings.of(live | {"GPUCLOUD_SIMULATED": "0"}).simulated is False

    def test_serve_beyond_this_machine_only_when_asked_by_name(self) -> None:
        open_ = {"GPUCLOUD_HOST": "192.0.2.7", "GPUCLOUD_ALLOW_INSECURE_HOST": "1"}

        assert Settings.of(COMPLETE | open_).public_url == "http://192.0.2.7:8000"

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost", "a.localhost"])
    def test_take_every_loopback_for_one(self, host: str) -> None:
        assert Settings.of(COMPLETE | {"GPUCLOUD_HOST": host}).host == host

    def test_show_no_secret(self) -> None:
        shown = repr(Settings.of(COMPLETE)) + str(Settings.of(COMPLETE))

        for secret in ("pw-in-the-url", "other-pw", "sk_test_51", "whsec_51"):
            assert secret not in shown

    @pytest.mark.parametrize("home", ["~\0", "/srv/\0", "gpucloud", "~nobody-of-this-name/x"])
    def test_need_a_home_that_can_be(self, home: str) -> None:
        with pytest.raises(SettingsInvalid, match="GPUCLOUD_HOME"):
            Settings.of({"GPUCLOUD_HOME": home})

    @given(st.dictionaries(st.sampled_from([v.name for v in VARIABLES]), st.text(max_size=20)))
    def test_answer_any_mapping_with_settings_or_with_words(
        self, environment: dict[str, str]
    ) -> None:
        faults: tuple[str, ...] = ()
        try:
            Settings.of(environment)
        except SettingsInvalid as invalid:
            faults = invalid.faults

        assert all(fault.endswith(".") for fault in faults)


class TestUpSettings:
    def test_need_nothing(self) -> None:
        settings = UpSettings.of({"HOME": "/root"})

        assert settings.database_url is None
        assert settings.redis_url is None
        assert settings.stripe_secret_key is None
        assert settings.home.name == ".gpucloud"
        assert (settings.port, settings.port_chosen) == (8000, False)

    def test_take_the_payment_keys_together(self) -> None:
        with pytest.raises(SettingsInvalid, match="together"):
            UpSettings.of({"STRIPE_SECRET_KEY": "sk_test_1"})

    def test_refuse_a_live_key(self) -> None:
        keys = {"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"}

        with pytest.raises(SettingsInvalid, match="live key"):
            UpSettings.of(keys)


class TestDatabaseUrl:
    def test_is_all_that_a_migration_needs(self) -> None:
        url = COMPLETE["DATABASE_URL"]

        assert database_url({"DATABASE_URL": url}) == Secret(url)

    def test_is_needed(self) -> None:
        with pytest.raises(SettingsInvalid, match="Set DATABASE_URL"):
            database_url({})


class TestReference:
    def test_is_printed_from_the_code(self) -> None:
        page = Path(__file__).parents[3] / "docs" / "reference" / "settings.md"

        assert page.read_text(encoding="utf-8") == reference()


class TestSecret:
    @given(st.text(min_size=6))
    def test_shows_itself_only_by_name(self, value: str) -> None:
        secret = Secret(value)

        assert f"{secret} {secret!r} {secret!s} {[secret]}".count("Secret(hidden)") == 4
        assert secret.reveal() == value

    def test_is_not_serialised(self) -> None:
        with pytest.raises(TypeError, match="not serialised"):
            pickle.dumps(Secret("a"))
