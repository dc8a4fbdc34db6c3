"""The command line refuses in words, and starts the edges by name."""

import pytest

from gpucloud_adapters import cli, parts


class TestRun:
    @pytest.mark.parametrize("command", ["web", "worker", "migrate"])
    def test_says_every_fault_and_starts_nothing(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        status = cli.run([command], {"GPUCLOUD_PROT": "1"})

        said = capsys.readouterr().err
        assert status == 2
        assert f"gpucloud {command} cannot start:" in said
        assert "GPUCLOUD_PROT is not a setting" in said
        assert "Set DATABASE_URL" in said

    @pytest.mark.parametrize("command", ["web", "worker"])
    def test_refuses_to_serve_without_a_way_to_pay(
        self, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        environment = {"DATABASE_URL": "postgresql://db/x", "REDIS_URL": "redis://r"}

        assert cli.run([command], environment | {"GPUCLOUD_SIMULATED": "1"}) == 2
        assert "Set STRIPE_SECRET_KEY: without it nobody can pay" in capsys.readouterr().err

    def test_prints_the_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.run(["version"], {}) == 0
        assert capsys.readouterr().out.startswith("gpucloud 0.")

    def test_asks_for_a_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            cli.run([], {})
        assert "COMMAND" in capsys.readouterr().err


class TestParts:
    def test_keep_the_working_folder_off_the_path(self) -> None:
        assert parts.worker()[1:] == ("-P", "-m", "gpucloud_workers")

    def test_serve_one_application_by_name(self) -> None:
        argv = parts.web("127.0.0.1", 8000)

        assert argv[-1] == "gpucloud_web.app:create_app"
        assert "--port=8000" in argv
