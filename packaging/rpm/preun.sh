# A removal stops the daemon; an upgrade lets it run until the new one is in place.
if [ "$1" -eq 0 ]; then
    systemctl --no-reload --quiet disable nightshift.service nightshift-cold-copy.socket nightshift-cold-copy-recover.service
    if [ -d /run/systemd/system ]; then
        systemctl stop nightshift-cold-copy.socket nightshift.service nightshift-drill.socket 'nightshift-drill@*.service'
        # Which starts a member that one of them has stopped.
        systemctl stop 'nightshift-cold-copy@*.service'
    fi
fi
