"""Private servers of databases for the tests: MariaDB and PostgreSQL, each on a socket in a folder.

They start from nothing, keep nothing, and wait for no disk: what they hold ends with the tests.
"""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

_START = 120  # seconds until a server has to answer
MISSING = {
    "mariadb": "no mariadbd or pymysql: apt-get install mariadb-server-core, pip install pymysql",
    "postgresql": "no postgres or psycopg: apt-get install postgresql, pip install psycopg[binary]",
}


@contextlib.contextmanager
def server(kind):
    """Start a server and yield a function that makes an empty database and returns its URL.

    Yields None where the server or its driver is not installed.
    """
    programs = _PROGRAMS[kind]()
    if programs is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="kd_face_"))  # short, as the path of a socket is bounded
    process = None
    try:
        command, url = _PREPARE[kind](folder, *programs)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, user=_user(kind))
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        _wait(engine, process, folder / "log")
        yield lambda: _make(engine)
        engine.dispose()
    finally:
        if process is not None:
            process.kill()  # nothing is kept
            process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def _mariadb_programs():
    found = [shutil.which(name, path=_PATH) for name in ("mariadbd", "mariadb-install-db")]
    with contextlib.suppress(ImportError):
        import pymysql  # noqa: F401

        return found if all(found) else None


def _postgresql_programs():
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parts[-2]))
    path = os.pathsep.join([str(one) for one in reversed(folders)] + [_PATH])
    found = [shutil.which(name, path=path) for name in ("postgres", "initdb")]
    with contextlib.suppress(ImportError):
        import psycopg  # noqa: F401

        return found if all(found) else None


def _prepare_mariadb(folder, program, install):
    data, socket = folder / "data", folder / "socket"
    # It gives up root by itself if it is told to; here it stays, as the folder is root's.
    user = ["--user=root"] if os.geteuid() == 0 else []
    made = ["--no-defaults", f"--datadir={data}", *user, "--skip-test-db"]
    _run([install, *made, "--auth-root-authentication-method=normal"], folder)
    quick = ["--innodb-flush-method=nosync", "--sync-frm=0", "--innodb-buffer-pool-size=32M"]
    quick += ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
    where = [f"--socket={socket}", "--skip-networking", f"--pid-file={folder / 'pid'}"]
    command = [program, "--no-defaults", f"--datadir={data}", *user, *where, *quick]
    return command, f"mariadb+pymysql://root@localhost/?unix_socket={socket}"


def _prepare_postgresql(folder, program, install):
    data, user = folder / "data", _user("postgresql")
    if user is not None:
        shutil.chown(folder, user)
    made = ["-D", str(data), "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
    _run([install, *made], folder, user)
    command = [program, "-D", str(data), "-k", str(folder), "-F", "-c", "listen_addresses="]
    return command, f"postgresql+psycopg://tests@/postgres?host={folder}"


def _run(command, folder, user=None):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, user=user)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def _user(kind):
    """Return whom the server runs as: PostgreSQL refuses to be root."""
    return "postgres" if kind == "postgresql" and os.geteuid() == 0 else None


def _wait(engine, process, log):
    end = time.monotonic() + _START
    while True:
        try:
            with engine.connect():
                return
        except OperationalError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(log.read_text(errors="replace")[-2000:]) from error
        time.sleep(0.1)


def _make(engine):
    name = f"faces_{secrets.token_hex(6)}"
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return engine.url.set(database=name).render_as_string(hide_password=False)


_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
_PROGRAMS = {"mariadb": _mariadb_programs, "postgresql": _postgresql_programs}
_PREPARE = {"mariadb": _prepare_mariadb, "postgresql": _prepare_postgresql}
