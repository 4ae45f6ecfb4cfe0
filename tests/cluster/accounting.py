"""SLURM's accounting for the time of a test: slurmdbd, and MariaDB below it."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.slurm import ETC, Cluster, ask, found

NEEDED = ("slurmdbd", "mariadbd", "mariadb-install-db", "mariadb")
ACCOUNT = "lab"
PORT = 33_061  # MariaDB's own may be taken
SETTINGS = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStorageEnforce=associations
"""
DAEMON = """\
AuthType=auth/munge
DbdHost=localhost
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""


def missing() -> str:
    """Return why there can be no accounting here; "" where there can."""
    absent = [name for name in NEEDED if not found(name)]
    if absent:
        return f"no {absent[0]}: apt-get install --no-install-recommends slurmdbd mariadb-server"
    if (ETC / "slurmdbd.conf").exists():
        return f"this machine has an accounting of its own ({ETC / 'slurmdbd.conf'})"
    return ""


@contextlib.contextmanager
def accounting(cluster: Cluster) -> Iterator[None]:
    """Let a running cluster keep accounts, and take jobs of the account "lab" alone."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_database(cluster.folder / "database"))
        stack.enter_context(_daemon(cluster))
        cluster.stop_daemons()
        stack.callback(_restart, cluster, "")
        _restart(cluster, SETTINGS)
        yield


def _restart(cluster: Cluster, settings: str) -> None:
    cluster.stop_daemons()
    cluster.configure(settings)
    cluster.start_scheduler()
    cluster.start_node()
    cluster.wait("idle")


@contextlib.contextmanager
def _database(folder: Path) -> Iterator[None]:
    """Run a MariaDB with an empty database, for the user "slurm"."""
    folder.mkdir()
    socket = folder / "socket"
    common = ["--no-defaults", "--user=root", f"--datadir={folder / 'data'}"]
    with open(folder / "log", "w") as log:
        install = [found("mariadb-install-db"), *common, "--skip-test-db"]
        install += ["--auth-root-authentication-method=normal"]
        subprocess.run(install, check=True, stdout=log, stderr=log)
        ports = [f"--socket={socket}", f"--port={PORT}", "--bind-address=127.0.0.1"]
        process = subprocess.Popen([found("mariadbd"), *common, *ports], stdout=log, stderr=log)
    try:
        grant = "CREATE USER slurm IDENTIFIED BY 'slurm'; GRANT ALL ON slurm.* TO slurm;"
        client = [found("mariadb"), "--no-defaults", f"--socket={socket}", "-uroot", "-e", grant]
        _until(lambda: subprocess.run(client, capture_output=True).returncode == 0, folder)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _daemon(cluster: Cluster) -> Iterator[None]:
    """Run slurmdbd with one account in it."""
    file = ETC / "slurmdbd.conf"
    file.touch(mode=0o600)  # it holds a password, and slurmdbd refuses it otherwise
    try:
        file.write_text(DAEMON.format(folder=cluster.folder, port=PORT))
        cluster.configure(SETTINGS)  # so that sacctmgr knows whom to ask
        subprocess.run([found("slurmdbd")], check=True)
        _until(lambda: "tests" in ask("sacctmgr", "-i", "add", "cluster", "tests"), cluster.folder)
        ask("sacctmgr", "-i", "add", "account", ACCOUNT, "cluster=tests")
        ask("sacctmgr", "-i", "add", "user", "root", f"account={ACCOUNT}")
        yield
    finally:
        cluster.kill("slurmdbd", signal.SIGTERM)
        file.unlink()


def _until(works, folder: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not works():
        if time.monotonic() > end:
            raise TimeoutError(f"the accounting does not start: see {folder}")
        time.sleep(0.2)
