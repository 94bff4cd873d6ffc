# $1: the number of versions that are installed after this script.
systemd-sysusers nightshift.conf
systemd-tmpfiles --create nightshift.conf || echo "nightshift: directories were not created; they will be created at the next boot" >&2
journalctl --update-catalog || echo "nightshift: the journal's message catalog was not updated" >&2
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl try-restart nightshift.service ||
        echo "nightshift: the daemon did not restart; see: journalctl -u nightshift" >&2
fi
if [ "$1" -eq 1 ]; then
    systemctl --no-reload preset nightshift.service nightshift-cold-copy.socket nightshift-cold-copy-recover.service nightshift-metrics.socket
    echo "nightshift: edit /etc/nightshift/nightshift.toml, then: systemctl enable --now nightshift"
fi
