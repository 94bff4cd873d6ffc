#!/usr/bin/env python3
"""Writes NAME.expected.json beside each inventory: its hosts, groups and variables as the real ansible-inventory reads them.
For those in LISTED it also writes NAME.list.json: what `ansible-inventory --list` printed.

    python3 -m venv VENV && VENV/bin/pip install ansible-core && VENV/bin/python expected.py

The files were made with ansible-core 2.19.14. Only the variables that nightshift reads are kept.
"""
import json
import pathlib
import subprocess
import sys

VARIABLES = {
    "access_ip", "ansible_become", "ansible_connection", "ansible_host", "ansible_port", "ansible_ssh_host",
    "ansible_ssh_port", "ansible_ssh_user", "ansible_user", "cluster_name", "ip", "openshift_clusterid", "openshift_ip",
}
LISTED = ("groups.ini", "kubespray.ini", "kubespray.yaml")


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def hosts_of(listing, group):
    found = set(listing.get(group, {}).get("hosts", []))
    for child in listing.get(group, {}).get("children", []):
        found |= hosts_of(listing, child)
    return found


here = pathlib.Path(__file__).parent
program = pathlib.Path(sys.executable).with_name("ansible-inventory")
for inventory in sorted(path for path in here.iterdir() if path.suffix in (".ini", ".yaml")):
    ran = subprocess.run([program, "-i", inventory, "--list"], capture_output=True, check=True, text=True)
    listing = json.loads(ran.stdout)
    if inventory.name in LISTED:
        inventory.with_suffix(inventory.suffix + ".list.json").write_text(ran.stdout)
    hostvars = listing.pop("_meta")["hostvars"]
    hosts = {
        host: {name: text(value) for name, value in sorted(hostvars.get(host, {}).items()) if name in VARIABLES}
        for host in sorted(hosts_of(listing, "all"))
    }
    groups = {group: sorted(hosts_of(listing, group)) for group in sorted(listing) if group not in ("all", "ungrouped")}
    expected = json.dumps({"hosts": hosts, "groups": {name: of for name, of in groups.items() if of}}, indent=1)
    inventory.with_suffix(inventory.suffix + ".expected.json").write_text(expected + "\n")
