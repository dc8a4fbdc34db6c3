from dataclasses import replace

import pytest

from gpucloud_adapters.simulated.host.faults import Fault, FaultKind, FaultScript


class TestFault:
    def test_refuses_what_cannot_happen(self) -> None:
        for verb, kind in (
            ("provision", FaultKind.WRONG_HOST_KEY),
            ("connect", FaultKind.SLOW),
            ("discover", FaultKind.OK_WITHOUT_DOING),
            ("reboot", FaultKind.SLOW),
        ):
            with pytest.raises(ValueError, match=r"cannot happen|no verb"):
                Fault(verb=verb, kind=kind)

    @pytest.mark.parametrize(
        ("name", "number"), [("count", 0), ("seconds", 0), ("percent", 0), ("percent", 101)]
    )
    def test_refuses_numbers_that_mean_nothing(self, name: str, number: int) -> None:
        with pytest.raises(ValueError, match=r"at least|from 1"):
            replace(Fault(verb="wipe", kind=FaultKind.SLOW), **{name: number})  # type: ignore[arg-type]  # all numbers


class TestFaultScript:
    def test_spoils_so_many_calls_and_then_none(self) -> None:
        script = FaultScript([Fault(verb="wipe", kind=FaultKind.HANG, count=2)])

        assert [bool(script.take("a", "wipe")) for _ in range(4)] == [True, True, False, False]

    def test_skips_the_first_calls(self) -> None:
        script = FaultScript([Fault(verb="wipe", kind=FaultKind.HANG, skip=2)])

        assert [bool(script.take("a", "wipe")) for _ in range(4)] == [False, False, True, False]

    def test_touches_only_the_machine_that_is_named(self) -> None:
        script = FaultScript([Fault(verb="wipe", kind=FaultKind.HANG, said="sweep-2", count=9)])

        named = [
            bool(script.take("a", "wipe", f"hostname: {name}")) for name in ("sweep-1", "sweep-2")
        ]
        assert named == [False, True]
        assert script.take("a", "wipe") is None

    def test_touches_only_its_verb_and_host(self) -> None:
        script = FaultScript([Fault(verb="wipe", kind=FaultKind.HANG, host="b")])

        assert script.take("a", "wipe") is None
        assert script.take("b", "release") is None
        assert script.take("b", "wipe") is not None

    def test_asks_the_rules_in_order(self) -> None:
        script = FaultScript(
            [
                Fault(verb="wipe", kind=FaultKind.HANG),
                Fault(verb="wipe", kind=FaultKind.RESET),
            ]
        )

        kinds = [fault.kind for _ in range(2) if (fault := script.take("a", "wipe"))]

        assert kinds == [FaultKind.HANG, FaultKind.RESET]

    def test_meets_the_same_calls_for_the_same_seed(self) -> None:
        def met(seed: int) -> list[bool]:
            rule = Fault(verb="wipe", kind=FaultKind.HANG, count=1000, percent=50)
            script = FaultScript([rule], seed=seed)
            return [bool(script.take("a", "wipe")) for _ in range(64)]

        assert met(1) == met(1)
        assert met(1) != met(2)
        assert 10 < sum(met(1)) < 54

    def test_reads_a_document(self) -> None:
        script = FaultScript.of(
            {"seed": 3, "faults": [{"verb": "probe", "kind": "gpu_loss", "gpus": 2}]}
        )

        fault = script.take("a", "probe")

        assert fault is not None
        assert (fault.kind, fault.gpus) == (FaultKind.GPU_LOSS, 2)

    def test_says_which_rule_of_a_document_is_wrong(self) -> None:
        for row in ({"verb": "probe"}, {"verb": "probe", "kind": "x"}, {"kind": "slow", "y": 1}):
            with pytest.raises(ValueError, match="fault 1"):
                FaultScript.of({"faults": [row]})
