"""The certificates by which a Mosquitto that somebody else runs, in a container say, and the emulator know each other.

Their CA signs for these two and is then forgotten: whoever else finds the way to that Mosquitto is not let in.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from stepbridge.iot.certificates import CertificateAuthority

ROOT_FILE = "root-ca.pem"
_SERVER_FILES = (ROOT_FILE, "server.pem", "server.key")
_CLIENT_FILES = (ROOT_FILE, "client.pem", "client.key")


def make_broker_certificates(server: Path, client: Path, hosts: Sequence[str], *, key_mode: int = 0o600) -> bool:
    """Make what Mosquitto needs in the folder `server`, and what the emulator needs in the folder `client`.

    `hosts` are the names by which the emulator finds Mosquitto; `key_mode` is the file mode of Mosquitto's key.
    False, and nothing is done, if all is there already.  Raises OSError if a folder cannot be written to.
    """
    wanted = [server / name for name in _SERVER_FILES] + [client / name for name in _CLIENT_FILES]
    if all(path.exists() for path in wanted):
        return False
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder)
        authority = CertificateAuthority(made, hosts)
        keys = authority.root.issue_keys()
        (made / "client.pem").write_text(keys.certificate)
        (made / "client.key").write_text(keys.private_key)
        for to, names in ((server, _SERVER_FILES), (client, _CLIENT_FILES)):
            to.mkdir(parents=True, exist_ok=True)
            for name in names:
                mode = 0o644 if name.endswith(".pem") else key_mode if to is server else 0o600
                _copy(made / name, to / name, mode)
    return True


def _copy(source: Path, to: Path, mode: int) -> None:
    to.unlink(missing_ok=True)
    with source.open("rb") as content, open(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
        shutil.copyfileobj(content, copy)
    to.chmod(mode)
