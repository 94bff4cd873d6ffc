# A removal stops the daemon. During an upgrade it runs until the new version is installed.
if [ "$1" -eq 0 ]; then
    systemctl --no-reload --quiet disable nightshift.service nightshift-cold-copy.socket nightshift-cold-copy-recover.service nightshift-metrics.socket
    if [ -d /run/systemd/system ]; then
        systemctl stop nightshift-cold-copy.socket nightshift-metrics.socket nightshift.service nightshift-drill.socket 'nightshift-drill@*.service' nightshift-notify.socket 'nightshift-notify@*.service' nightshift-hook.socket 'nightshift-hook@*.service'
        # If a cold copy has stopped a member, its ExecStopPost= starts it again.
        systemctl stop 'nightshift-cold-copy@*.service'
    fi
fi
