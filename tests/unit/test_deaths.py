import signal
import subprocess
import sys

import pytest

from ibid import deaths

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]


class TestFromOutside:
    @pytest.mark.parametrize(
        ("number", "outside"), [(signal.SIGKILL, True), (signal.SIGTERM, True), (signal.SIGSEGV, False)]
    )
    def test_by_the_signal(self, number: signal.Signals, *, outside: bool) -> None:
        before = deaths.memory_kills()
        with subprocess.Popen(SLEEPER) as process:
            process.send_signal(number)
            status = process.wait()
        assert deaths.from_outside(status, before) is (outside and before is not None)

    def test_not_when_memory_was_short_meanwhile(self) -> None:
        now = deaths.memory_kills()
        assert not deaths.from_outside(-signal.SIGKILL, now - 1 if now else None)

    def test_not_when_nobody_can_tell(self) -> None:
        assert not deaths.from_outside(-signal.SIGKILL, None)
