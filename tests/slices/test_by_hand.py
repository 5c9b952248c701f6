# SPDX-FileCopyrightText: fleetcare.esxi contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of docs/automation_platform.md that run slices on other machines, with local processes in the place of ssh."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest

from tests.simulator import Simulator

from .workers import PATIENCE

pytestmark = pytest.mark.timeout(900)
PAGE = pathlib.Path("docs/automation_platform.md")


def blocks(kind: str) -> list[tuple[str, str]]:
    """Name and text of the blocks of a kind."""
    return re.findall(rf"^```{kind} ?(\S*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def test_the_lines_of_the_page(slices: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with Simulator("tiny") as simulator:
        (tmp_path / "password").write_text(simulator.password + "\n", encoding="utf-8")
        known = {
            "/etc/fleetcare/password": str(tmp_path / "password"),
            "vcenter.example.com": f"127.0.0.1\nesxi_audit_port: {simulator.port}\nesxi_audit_thumbprint: {simulator.thumbprint}",
            "audit@vsphere.local": simulator.username,
        }
        for name, text in blocks("yaml"):
            for old, new in known.items():
                text = text.replace(old, new)
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")
        (block,) = [text for _name, text in blocks("sh")]
        worker = slices / "worker/bin"
        # Another machine has its own home and knows no variable of ours. The third is not there when it is asked first.
        ssh = f"""
        ssh() {{
          [ "$1" != worker-3.example.com ] || [ -e third ] || {{ touch third; return 255; }}
          home="$PWD/home/$1"
          mkdir -p "$home"
          shift
          env -i PATH={shlex.quote(str(worker))}:/usr/bin:/bin HOME="$home" LC_ALL=C.UTF-8 "$@"
        }}
        """
        again = block.replace("for n in 1 2 3 4", "for n in 3").replace('back=$(mktemp -d "$PWD/back.XXXXXX")\n', "")
        assert again.count("\n") == block.count("\n") - 1
        script = f"{ssh}\n{block}\necho first: $?\n{again}\necho again: $?\n"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        logs = "".join(file.read_text(encoding="utf-8")[-1000:] for file in sorted(tmp_path.glob("back.*/*.log")))
        assert "first: 2" in ran.stdout and "again: 0" in ran.stdout, ran.stdout[-3000:] + ran.stderr[-2000:] + logs
        # The folder of the job is the same for all four, which run at the same time: what one left there, another would take.
        assert [file.name for file in (tmp_path / "job/env").iterdir()] == ["extravars"]
        hosts, port = len(simulator.state()["hosts"]), simulator.port
    (said,) = [text for _name, text in blocks("text")]
    shown = said.strip().replace("/srv/audit", str(tmp_path)).replace("vcenter.example.com", f"127.0.0.1:{port}")
    assert shown in ran.stdout
    report = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))
    assert report["slices"] == {"of": 4, "present": [1, 2, 3, 4]} and report["summary"]["hosts"] == hosts
