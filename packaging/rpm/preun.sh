# A removal stops the daemon; an upgrade lets it run until the new one is in place.
if [ "$1" -eq 0 ]; then
    systemctl --no-reload --quiet disable nightshift.service
    if [ -d /run/systemd/system ]; then
        systemctl stop nightshift.service nightshift-drill.socket 'nightshift-drill@*.service'
    fi
fi
