# A removal takes away the peers' access, and never a backup or a key.
if [ "$1" -eq 0 ]; then
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
    journalctl --update-catalog || true
    rm -rf /var/lib/nightshift-peer
    echo "nightshift: /var/lib/nightshift and /etc/nightshift are kept: backups and keys are yours to remove" >&2
fi
