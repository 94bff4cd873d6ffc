//! Notices in the mailboxes of real mail servers and in a real Alertmanager, sent by the package's units over TLS.

use std::time::Duration;

use kit::lab::cmd::poll;
use kit::lab::nightshift::enable;
use kit::lab::{Host, HostFile, Role, Schedule, Topology, available};
use kit::pki::Authority;
use serde_json::Value;

use crate::site::{Site, Status, story, wait_settled};

const NIGHT: Duration = Duration::from_secs(300);
/// Longer than the delay before the first retries.
const RETRIED: Duration = Duration::from_secs(180);
const PACKAGES: &[&str] = &["curl", "postfix", "prometheus-alertmanager", "python3-aiosmtpd"];

/// Takes mail for lab.test with STARTTLS only, and puts it into one file.
const POSTFIX: &str = "compatibility_level = 3.6
myhostname = backup1.lab.test
mydestination =
inet_interfaces = all
inet_protocols = ipv4
virtual_mailbox_domains = lab.test
virtual_mailbox_base = /var/mail
virtual_mailbox_maps = static:postfix/inbox
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtpd_tls_security_level = encrypt
smtpd_tls_cert_file = /etc/receivers/server.crt
smtpd_tls_key_file = /etc/receivers/server.key
smtpd_relay_restrictions = reject_unauth_destination
";
const ALERTMANAGER: &str = "route: { receiver: none }\nreceivers: [{ name: none }]\n";
const WITH_TLS: &str =
    "tls_server_config: { cert_file: /etc/receivers/server.crt, key_file: /etc/receivers/server.key }\n";
const START: &str = "install -d -o nobody -g nogroup /var/mail/postfix /var/mail/aiosmtpd && \
    chown prometheus /etc/receivers/server.key && \
    systemd-run --quiet --unit=aiosmtpd python3 -m aiosmtpd --nosetuid --listen 0.0.0.0:465 \
    --smtpscert /etc/receivers/server.crt --smtpskey /etc/receivers/server.key \
    --class aiosmtpd.handlers.Mailbox /var/mail/aiosmtpd/box && \
    systemctl restart prometheus-alertmanager";

const TARGETS: &str = r#"
[[notify]]
name = "alertmanager"
kind = "webhook"
format = "alertmanager"
url-file = "/etc/nightshift/notify/alertmanager"
ca = "/etc/nightshift/notify/ca.crt"

[[notify]]
name = "postfix"
kind = "mail"
url = "smtp://backup1.lab.test"
ca = "/etc/nightshift/notify/ca.crt"
from = "nightshift@lab.test"
to = ["ops@lab.test"]

[[notify]]
name = "aiosmtpd"
kind = "mail"
url = "smtps://backup1.lab.test"
ca = "/etc/nightshift/notify/ca.crt"
from = "nightshift@lab.test"
to = ["ops@lab.test"]
"#;
const KNOWN_HOSTS: &str = "/etc/nightshift/ssh/known_hosts";

#[test]
fn alertmanager_postfix_and_aiosmtpd_have_each_notice_of_a_bad_and_a_good_night_once() {
    if !kit::require(available()) {
        return;
    }
    let topology = Topology::new()
        .with_packages(PACKAGES)
        .host("master1", &[Role::Master, Role::Etcd])
        .with(1, Role::Node)
        .with(1, Role::BackupServer);
    let site = Site::up("notices", &topology, &Schedule::due_in(-1).ending(2, 180));
    let (master, receivers) = (site.host("master1"), site.host("backup1"));
    start_receivers(&site);
    // The pull from node1 is refused, and postfix is down meanwhile.
    master.run(&format!("cp {KNOWN_HOSTS} /root/pins && sed -i /node1/d {KNOWN_HOSTS}")).unwrap();
    receivers.systemctl("stop postfix@-.service").unwrap();
    enable(&site.lab).unwrap();
    let bad = wait_settled(master, NIGHT);
    assert_eq!((bad.verdict(), bad.exit), ("degraded", 3), "{}\n{}", bad.reasons(), story(master));

    let firing = ["NightshiftHostKeyMismatch node1.lab.test", "NightshiftNightSettled "];
    poll("the alerts", RETRIED, || found(alerts(receivers), &firing)).unwrap();
    poll("the mails", RETRIED, || found(subjects(receivers, "aiosmtpd"), &["host key", "is degraded"]))
        .unwrap();
    let waits = master.run("nightshift notify").unwrap().text();
    assert!(waits.lines().any(|line| line.contains("postfix") && line.contains("cannot connect")), "{waits}");
    receivers.systemctl("start postfix@-.service").unwrap();
    poll("the mails", RETRIED, || found(subjects(receivers, "postfix"), &["host key", "is degraded"]))
        .unwrap();

    master.run(&format!("cp /root/pins {KNOWN_HOSTS}")).unwrap();
    master.run_for("nightshift run --wait pull-nodes pack-archive ship-archive", NIGHT).unwrap();
    let good = wait_settled(master, NIGHT);
    assert_eq!(good.verdict(), "complete", "{}\n{}", good.reasons(), story(master));
    poll("the end of the alerts", RETRIED, || found(alerts(receivers), &[])).unwrap();
    let all = ["master1.lab.test: the host key", "is complete", "is degraded", "no longer: the host key"];
    for mailbox in ["aiosmtpd", "postfix"] {
        poll(mailbox, RETRIED, || found(subjects(receivers, mailbox), &all)).unwrap();
    }
    let ids = receivers.run("grep -rhi '^message-id:' /var/mail/postfix /var/mail/aiosmtpd").unwrap().text();
    let mut ids: Vec<&str> = ids.lines().collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all.len(), "both mailboxes have the same ids, each once: {ids:#?}");
    no_other_authority_is_trusted(master);
    assert_eq!(Status::of(master).exit, 0);
}

fn start_receivers(site: &Site) {
    let (master, receivers) = (site.host("master1"), site.host("backup1"));
    let authority = Authority::of_lab(&site.lab, "receivers").unwrap();
    let server = authority.issue("server", "/CN=backup1.lab.test", "DNS:backup1.lab.test").unwrap();
    for (path, mode, content) in [
        ("/etc/receivers/server.crt", 0o644, server.certificate),
        ("/etc/receivers/server.key", 0o400, server.key),
        ("/etc/postfix/main.cf", 0o644, POSTFIX.into()),
        ("/etc/prometheus/alertmanager.yml", 0o644, ALERTMANAGER.into()),
        ("/etc/prometheus/web.yml", 0o644, WITH_TLS.into()),
        (
            "/etc/default/prometheus-alertmanager",
            0o644,
            "ARGS=\"--web.config.file=/etc/prometheus/web.yml --cluster.listen-address=\"\n".into(),
        ),
        ("/etc/receivers/ca.crt", 0o644, authority.pair().unwrap().certificate),
    ] {
        receivers.write_file(&HostFile::new(path, mode, content)).unwrap();
    }
    receivers.run(START).unwrap();
    for (path, mode, content) in [
        ("ca.crt", 0o644, authority.pair().unwrap().certificate),
        ("alertmanager", 0o640, "https://backup1.lab.test:9093/api/v2/alerts\n".into()),
    ] {
        let file = HostFile::new(format!("/etc/nightshift/notify/{path}"), mode, content);
        master.write_file(&file.owned_by("root:nightshift-notify")).unwrap();
    }
    master.write_file(&HostFile::new("/etc/nightshift/conf.d/50-notify.toml", 0o644, TARGETS)).unwrap();
    poll("the receivers", NIGHT, || alerts(receivers)).unwrap();
}

/// The alerts that are firing, each with its subject.
fn alerts(receivers: &Host) -> Result<Vec<String>, String> {
    let line = "curl --silent --show-error --fail --cacert /etc/receivers/ca.crt 'https://backup1.lab.test:9093/api/v2/alerts'";
    let printed = receivers.run(line).map_err(|error| error.to_string())?.text();
    let alerts: Vec<Value> = serde_json::from_str(&printed).map_err(|error| error.to_string())?;
    let label = |alert: &Value, name| alert["labels"][name].as_str().unwrap_or_default().to_owned();
    Ok(alerts
        .iter()
        .map(|alert| format!("{} {}", label(alert, "alertname"), label(alert, "subject")))
        .collect())
}

/// The subjects of the mails in a mailbox.
fn subjects(receivers: &Host, mailbox: &str) -> Result<Vec<String>, String> {
    let line = format!("grep -rhi '^subject:' /var/mail/{mailbox} || true");
    let printed = receivers.run(&line).map_err(|error| error.to_string())?.text();
    Ok(printed.lines().map(str::to_owned).collect())
}

/// These and no others: each of these parts is in one of them.
fn found(found: Result<Vec<String>, String>, parts: &[&str]) -> Result<(), String> {
    let found = found?;
    let each_once = parts.iter().all(|part| found.iter().filter(|one| one.contains(part)).count() == 1);
    if each_once && found.len() == parts.len() {
        Ok(())
    } else {
        Err(format!("{found:#?} are not {parts:#?}"))
    }
}

/// The system's authorities did not sign the receivers' certificate.
fn no_other_authority_is_trusted(master: &Host) {
    master
        .run("sed -i '/^ca = /d' /etc/nightshift/conf.d/50-notify.toml && systemctl reload nightshift")
        .unwrap();
    for name in ["alertmanager", "postfix", "aiosmtpd"] {
        let refused = master.try_run(&format!("nightshift notify --test {name}")).unwrap();
        assert!(refused.status == 1 && refused.stderr.contains("certificate"), "{name}: {}", refused.stderr);
    }
}
