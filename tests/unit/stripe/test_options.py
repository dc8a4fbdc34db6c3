"""What the simulated server's command line and the product's settings say together."""

from pathlib import Path

import pytest

from gpucloud_adapters.settings import SettingsInvalid
from gpucloud_adapters.simulated.stripe_server import options_of

SETTINGS = {
    "DATABASE_URL": "postgresql://localhost/gpucloud",
    "REDIS_URL": "redis://localhost",
    "STRIPE_SECRET_KEY": "sk_test_from_settings",
    "STRIPE_WEBHOOK_SECRET": "whsec_from_settings",
    "GPUCLOUD_PUBLIC_URL": "http://127.0.0.1:8123",
}
NEEDED = ("--port=31500", "--home=/tmp/stripe")


class TestOptionsOf:
    def test_takes_secrets_and_webhook_from_the_settings(self) -> None:
        options, port = options_of(NEEDED, SETTINGS)

        assert (port, options.home) == (31500, Path("/tmp/stripe"))  # noqa: S108  never made
        assert options.base_url == "http://127.0.0.1:31500"
        assert options.secret_key == "sk_test_from_settings"
        assert options.webhook_secret == "whsec_from_settings"
        assert options.webhook_url == "http://127.0.0.1:8123/api/v1/payments/webhook"

    def test_prefers_the_command_line(self) -> None:
        own = ("--api-key=sk_test_x", "--webhook-secret=whsec_x", "--webhook-url=http://a.example/")

        options, _ = options_of((*NEEDED, *own, "--faults=duplicate=1,seed=4"), {})

        assert (options.secret_key, options.webhook_secret) == ("sk_test_x", "whsec_x")
        assert options.webhook_url == "http://a.example/"
        assert (options.faults.duplicate, options.faults.seed) == (1.0, 4)

    def test_shows_no_secret_when_printed(self) -> None:
        options, _ = options_of(NEEDED, SETTINGS)

        assert "from_settings" not in repr(options)

    def test_says_what_is_missing(self) -> None:
        with pytest.raises(SettingsInvalid, match="STRIPE_SECRET_KEY"):
            options_of(NEEDED, {})

    def test_ends_with_a_word_about_an_unknown_fault(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            options_of((*NEEDED, "--faults=explode=1"), SETTINGS)

        assert "no such fault: explode" in capsys.readouterr().err
