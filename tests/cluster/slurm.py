"""A SLURM of one node, from Debian's packages (slurm-wlm, munge), for the time of some tests.

SLURM's commands find their configuration in /etc/slurm only, whatever a job's environment says, so
it is written there; a machine that has one already is left alone.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

ETC = Path("/etc/slurm")
MARK = "# Written by the tests of WFDM, and removed by them.\n"
NEEDED = ("sbatch", "srun", "squeue", "scontrol", "slurmctld", "slurmd", "munged")
CPUS, MEMORY_MB, GPUS = 16, 256_000, 2
"""What the node claims to have, so that jobs may ask for what the study's jobs ask for."""

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/completed
KillWait=15
MinJobAge=300
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes={host} MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Return why no cluster can be started here; "" where one can."""
    absent = [name for name in NEEDED if not found(name)]
    if absent:
        return f"no {absent[0]}: apt-get install --no-install-recommends slurm-wlm munge"
    if os.geteuid():
        return "starting SLURM's daemons takes root"
    configured = ETC / "slurm.conf"
    if configured.exists() and not configured.read_text().startswith(MARK):
        return f"this machine has a SLURM of its own ({configured})"
    running = subprocess.run(["pgrep", "-x", "slurmctld"], capture_output=True, text=True).stdout
    if running:  # it has the port, and would answer in the new one's stead
        return f"another slurmctld runs here: kill {running.split()[0]}"
    return ""


class Cluster:
    """The daemons, their state in `folder`, and questions to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started_munge = False

    def start(self) -> None:
        """Write the configuration and start all daemons; raises where a node does not come up."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        ETC.mkdir(exist_ok=True)
        self.configure()
        # Two files that exist on every machine stand for two cards.
        host = _host()
        cards = (
            f"NodeName={host} Name=gpu File=/dev/null\nNodeName={host} Name=gpu File=/dev/zero\n"
        )
        (ETC / "gres.conf").write_text(MARK + cards)
        self._start_munge()
        self.start_scheduler()
        self.start_node()
        self.wait("idle")

    def configure(self, more: str = "") -> None:
        """Write the configuration, with more lines."""
        values = {"host": _host(), "folder": self.folder}
        values |= {"cpus": CPUS, "memory": MEMORY_MB, "gpus": GPUS}
        (ETC / "slurm.conf").write_text(MARK + CONFIGURATION.format(**values) + more)

    def stop(self) -> None:
        """Cancel all jobs, stop the daemons, remove the configuration."""
        subprocess.run(["scancel", "--me"], check=False)
        self.stop_daemons()
        if self.started_munge:
            subprocess.run(["pkill", "-x", "munged"], check=False)
        for name in ("slurm.conf", "gres.conf"):
            (ETC / name).unlink(missing_ok=True)

    def stop_daemons(self) -> None:
        """Stop node and scheduler, which keep their state."""
        for name in ("slurmd", "slurmctld"):
            self.kill(name, signal.SIGTERM)

    def start_scheduler(self) -> None:
        """Start slurmctld, with the state that an earlier one left."""
        subprocess.run([found("slurmctld")], check=True)

    def start_node(self) -> None:
        """Start slurmd."""
        subprocess.run([found("slurmd")], check=True)

    def kill(self, daemon: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a daemon, and wait until it is gone."""
        file = self.folder / f"{daemon}.pid"
        if not file.exists():
            return
        process = int(file.read_text())
        os.kill(process, number)
        for _ in range(200):
            if not _alive(process):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{daemon} does not end")

    def crash(self, job: str) -> None:
        """Kill the node's daemon and all that belongs to a job on it, as a power cut does."""
        self.kill("slurmd")
        subprocess.run(["pkill", "-KILL", "-x", "slurmstepd"], check=False)
        for process in Path("/proc").glob("[0-9]*"):
            try:
                variables = (process / "environ").read_bytes().split(b"\0")
            except OSError:  # it ended
                continue
            if f"SLURM_JOB_ID={job}".encode() in variables:
                os.kill(int(process.name), signal.SIGKILL)

    def wait(self, state: str, seconds: float = 30) -> None:
        """Wait until the node is in a state, such as "idle"."""
        told = ""
        for _ in range(int(seconds * 5)):
            told = ask("sinfo", "-h", "-p", "main", "-o", "%T")
            if told == state:
                return
            time.sleep(0.2)
        raise TimeoutError(f"the node is {told}, not {state}: see {self.folder}")

    def completed(self) -> list[dict[str, str]]:
        """Return the jobs that ended, as SLURM's own log of them tells."""
        file = self.folder / "completed"
        lines = file.read_text().splitlines() if file.exists() else []
        return [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines]

    def _start_munge(self) -> None:
        if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
            return
        for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge", "/etc/munge"):
            Path(folder).mkdir(exist_ok=True)
            shutil.chown(folder, "munge", "munge")
        subprocess.run(["runuser", "-u", "munge", "--", found("munged")], check=True)
        self.started_munge = True


def ask(*command: str) -> str:
    """Return what a command of SLURM prints; "" while the scheduler does not answer."""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def found(name: str) -> str:
    """Return the path of a program or a daemon; "" where it is not installed."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or ""


def _host() -> str:
    return socket.gethostname().partition(".")[0]


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
