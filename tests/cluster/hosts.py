"""Hosts on one machine: network namespaces joined by a bridge, as `unshare -rn` allows.

A namespace has interfaces and addresses of its own; only what is sent over the bridge
reaches another. The files of all are the same, like a shared disk.
"""

import shutil
import subprocess

NETWORK = "10.77.0"


def why_not():
    """Return why there can be no namespaces here, or nothing."""
    if not (shutil.which("unshare") and shutil.which("ip") and shutil.which("nsenter")):
        return "needs unshare, nsenter and ip"
    trial = "ip link add b0 type bridge && ip link add v0 type veth peer name v1"
    done = subprocess.run(
        [shutil.which("unshare"), "-rn", "sh", "-c", trial],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no network namespaces here: {done.stderr}" if done.returncode else ""


class Hosts:
    """A bridge in a namespace of its own, and hosts that hang on it.

    Hosts are numbered from 1, as their addresses are.
    """

    def __init__(self, n):
        # All live as long as a sleep; user namespaces would need an own mapping each.
        self.holders = [self._namespace(["unshare", "-rn"])]
        self._in(0, "ip link set lo up", "ip link add br0 type bridge")
        self._in(0, "ip link set br0 up")
        for number in range(1, n + 1):
            self._hang(number)

    def _namespace(self, before):
        process = subprocess.Popen(
            [*before, "sh", "-c", "echo up; exec sleep 3600"], stdout=subprocess.PIPE
        )
        process.stdout.readline()
        return process

    def _enter(self, number):
        own = f"--net=/proc/{self.holders[number].pid}/ns/net"
        return [
            "nsenter",
            "-t",
            str(self.holders[0].pid),
            "-U",
            "--preserve-credentials",
            own,
        ]

    def _in(self, number, *commands):
        for command in commands:
            line = [*self._enter(number), *command.split()]
            subprocess.run(line, check=True, capture_output=True, timeout=30)

    def _hang(self, number):
        inside = [
            "nsenter",
            "-t",
            str(self.holders[0].pid),
            "-U",
            "--preserve-credentials",
        ]
        self.holders.append(self._namespace([*inside, "unshare", "-n"]))
        near, far = f"near{number}", f"far{number}"
        self._in(0, f"ip link add {near} type veth peer name {far}")
        pid = self.holders[number].pid
        line = [
            *self._enter(0),
            "ip",
            "link",
            "set",
            far,
            "netns",
            f"/proc/{pid}/ns/net",
        ]
        subprocess.run(line, check=True, capture_output=True, timeout=30)
        self._in(0, f"ip link set {near} master br0", f"ip link set {near} up")
        self._in(
            number,
            "ip link set lo up",
            f"ip addr add {self.address(number)}/24 dev {far}",
            f"ip link set {far} up",
        )

    def address(self, number):
        return f"{NETWORK}.{number}"

    def on(self, number):
        """Return what to put before a command that is to run on a host."""
        return self._enter(number)

    def cut_off(self, number):
        """Pull a host's plug: nothing it sends arrives, nothing reaches it."""
        self._in(0, f"ip link set near{number} down")

    def close(self):
        for process in reversed(self.holders):
            process.kill()
            process.wait()
            process.stdout.close()
