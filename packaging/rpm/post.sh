# $1: the number of versions that are installed after this script.
if command -v systemd-sysusers > /dev/null; then
    systemd-sysusers nightshift.conf
else
    # Enterprise Linux 7 does not have it. The lines are: kind, name, number, "comment", home.
    sed -n 's/^\([ug]\) *\([^ ]*\) *- *\("[^"]*"\)\{0,1\} */\1 \2 /p' /usr/lib/sysusers.d/nightshift.conf |
        while read -r kind name home; do
            getent group "$name" > /dev/null || groupadd --system "$name"
            [ "$kind" = g ] || getent passwd "$name" > /dev/null ||
                useradd --system --gid "$name" --no-create-home --home-dir "$home" --shell /sbin/nologin "$name"
        done
fi
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
