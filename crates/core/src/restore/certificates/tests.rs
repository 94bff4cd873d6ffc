#![allow(clippy::unwrap_used)]
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::fixtures;
use crate::fixtures::pki::Authority;
use crate::manifest::{Item, ItemKind};
use crate::restore::Plan;
use crate::restore::evidence::{Evidence, FoundSet};
use crate::restore::finding::FindingKind;
use crate::restore::make::make;
use crate::restore::tests::{CONF, NIGHT, cluster, refusals};
use crate::settings::Settings;
use crate::system::{ControlPlane, System};

/// Of the plan.
const NOW: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
const LATER: i64 = NOW + 365 * DAY;

fn plan_at(settings: &Settings, sets: Vec<FoundSet>, now: i64) -> Plan {
    make(&Evidence {
        settings,
        night: NIGHT.parse().unwrap(),
        source: "an archive".into(),
        signed: "signed".into(),
        sets,
        survivor: None,
        now: Timestamp::from_second(now).unwrap(),
    })
}

fn put(set: &mut FoundSet, path: &str, content: &str) {
    let name = path.trim_start_matches('/');
    set.manifest.items.retain(|item| item.path != name);
    set.manifest.items.push(fixtures::file(name, path, content.as_bytes()));
    set.texts.insert(name.to_owned(), content.as_bytes().to_vec());
}

fn texts(plan: &Plan, kind: FindingKind) -> String {
    let of_kind = plan.findings.iter().filter(|finding| finding.kind == kind);
    of_kind.map(|finding| finding.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// The sets of a cluster of which `e1` has certificates of `ca` for these names.
fn member(ca: &Authority, names: &[&str], until: i64) -> (Settings, Vec<FoundSet>) {
    let (settings, mut sets) = cluster();
    let conf = CONF.replace("HOST", "e1")
        + "ETCD_CERT_FILE=/etc/etcd/server.crt\nETCD_KEY_FILE=/etc/etcd/server.key\n";
    put(&mut sets[0], "/etc/etcd/etcd.conf", &conf);
    put(&mut sets[0], "/etc/etcd/ca.crt", &ca.pem());
    for name in ["server", "peer"] {
        let (certificate, key) = ca.issue(names, until);
        put(&mut sets[0], &format!("/etc/etcd/{name}.crt"), &certificate);
        put(&mut sets[0], &format!("/etc/etcd/{name}.key"), &key);
    }
    (settings, sets)
}

#[test]
fn certificates_that_fit_are_not_mentioned() {
    let ca = Authority::new("ca", LATER);
    let (settings, sets) = member(&ca, &["e1", "10.0.0.1"], LATER);
    let plan = plan_at(&settings, sets, NOW);
    assert_eq!(refusals(&plan), "");
    let shown = format!("{:?}", plan.findings);
    assert!(!shown.contains("/etc/etcd/server.crt"), "{shown}");
    assert!(shown.contains("e2: /etc/etcd/peer.crt (it is not in the sets)"), "{shown}");
}

#[test]
fn a_member_with_an_expired_a_future_or_a_foreign_certificate_another_key_or_another_name_is_refused() {
    let (ca, foreign) = (Authority::new("ca", LATER), Authority::new("ca", LATER));
    let refused = |change: &dyn Fn(&mut FoundSet), now: i64| {
        let (settings, mut sets) = member(&ca, &["e1"], LATER);
        change(&mut sets[0]);
        refusals(&plan_at(&settings, sets, now))
    };
    let contains = |text: &str, part: &str| assert!(text.contains(part), "{part}: {text}");
    let (expired, key) = ca.issue(&["e1"], NOW - DAY);
    let text = refused(
        &|set| {
            put(set, "/etc/etcd/server.crt", &expired);
            put(set, "/etc/etcd/server.key", &key);
        },
        NOW,
    );
    contains(
        &text,
        "e1: certificates that do not fit: /etc/etcd/server.crt expired on 2027-01-14; use a night",
    );
    contains(
        &refused(&|_| {}, -DAY),
        "/etc/etcd/peer.crt is valid only from 1970-01-01T00:00:00Z, check this",
    );

    let (of_other, key) = foreign.issue(&["e1"], LATER);
    let text = refused(
        &|set| {
            put(set, "/etc/etcd/peer.crt", &of_other);
            put(set, "/etc/etcd/peer.key", &key);
        },
        NOW,
    );
    contains(&text, "/etc/etcd/peer.crt is signed by none of the authorities in /etc/etcd/ca.crt");
    let text = refused(&|set| put(set, "/etc/etcd/server.key", &key), NOW);
    contains(&text, "/etc/etcd/server.crt does not fit its key /etc/etcd/server.key");
    let (of_name, key) = ca.issue(&["e9", "10.0.0.9"], LATER);
    let text = refused(
        &|set| {
            put(set, "/etc/etcd/peer.crt", &of_name);
            put(set, "/etc/etcd/peer.key", &key);
        },
        NOW,
    );
    contains(&text, "/etc/etcd/peer.crt is for e9, 10.0.0.9, not for e1; use");
    contains(&text, "A restore under new names or addresses is not supported");
    let old = Authority::new("ca", NOW - 1).pem();
    contains(
        &refused(&|set| put(set, "/etc/etcd/ca.crt", &old), NOW),
        "/etc/etcd/ca.crt expired on 2027-01-15",
    );
}

#[test]
fn what_expires_soon_and_what_cannot_be_checked_is_named_and_refuses_nothing() {
    let ca = Authority::new("ca", LATER);
    let (settings, mut sets) = member(&ca, &["e1"], NOW + 10 * DAY);
    put(
        &mut sets[0],
        "/etc/etcd/server.crt",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let plan = plan_at(&settings, sets, NOW);
    assert_eq!(refusals(&plan), "");
    let missing = texts(&plan, FindingKind::Missing);
    assert!(missing.contains("e1: /etc/etcd/peer.crt on 2027-01-25"), "{missing}");
    assert!(missing.contains("e1: /etc/etcd/server.crt (invalid certificate"), "{missing}");
}

#[test]
fn an_intermediate_authority_in_the_file_leads_to_the_one_that_is_named() {
    let root = Authority::new("root", LATER);
    let intermediate = root.authority("intermediate", LATER);
    let (settings, mut sets) = member(&root, &["e1"], LATER);
    let (certificate, key) = intermediate.issue(&["e1"], LATER);
    put(&mut sets[0], "/etc/etcd/peer.key", &key);
    put(&mut sets[0], "/etc/etcd/peer.crt", &certificate);
    assert!(refusals(&plan_at(&settings, sets.clone(), NOW)).contains("signed by none"));
    put(&mut sets[0], "/etc/etcd/peer.crt", &(certificate + &intermediate.pem()));
    assert_eq!(refusals(&plan_at(&settings, sets, NOW)), "");
}

const MASTER: &str = "kind: MasterConfig
servingInfo:
  certFile: master.crt
  keyFile: master.key
  clientCA: ca.crt
  namedCertificates: [{ certFile: public.crt, keyFile: public.key, names: [api.example.com] }]
kubernetesMasterConfig:
  masterIP: 10.0.0.1
  proxyClientInfo: { certFile: '', keyFile: '' }
  controllerArguments: { cluster-signing-cert-file: [ca.crt], cluster-signing-key-file: [ca.key] }
masterClients: { openshiftLoopbackKubeConfig: loop.kubeconfig }
";

#[test]
fn a_masters_own_and_public_certificates_its_authority_and_its_kubeconfig_are_checked() {
    let (ca, public) = (Authority::new("ca", LATER), Authority::new("public", LATER));
    let (settings, mut sets) = cluster();
    let at = |name: &str| format!("/etc/origin/master/{name}");
    let master = &mut sets[3];
    put(master, &at("master-config.yaml"), MASTER);
    put(master, &at("ca.crt"), &ca.pem());
    put(master, &at("ca.key"), &ca.key());
    for (name, (certificate, key)) in
        [("master", ca.issue(&["10.0.0.1"], LATER)), ("public", public.issue(&["api.example.com"], LATER))]
    {
        put(master, &at(&format!("{name}.crt")), &certificate);
        put(master, &at(&format!("{name}.key")), &key);
    }
    let kubeconfig = |ca: &Authority| {
        let (certificate, key) = ca.issue(&[], LATER);
        let [authority, certificate, key] = [ca.pem(), certificate, key].map(|pem| STANDARD.encode(pem));
        format!(
            "kind: Config\nclusters: [{{ name: a, cluster: {{ certificate-authority-data: {authority} }} }}]\nusers: [{{ name: u, user: \
             {{ client-certificate-data: {certificate}, client-key-data: {key} }} }}]\ncontexts: [{{ name: c, context: {{ cluster: a, user: u }} }}]\n\
             current-context: c\n"
        )
    };
    put(master, &at("loop.kubeconfig"), &kubeconfig(&ca));
    let plan = plan_at(&settings, sets.clone(), NOW);
    assert_eq!(refusals(&plan), "");
    assert!(!texts(&plan, FindingKind::Missing).contains("m1: /etc"), "{:?}", plan.findings);

    let (foreign, key) = public.issue(&["other.example.com"], LATER);
    let master = &mut sets[3];
    put(master, &at("master.crt"), &foreign);
    put(master, &at("master.key"), &key);
    put(master, &at("ca.key"), &public.key());
    put(master, &at("public.key"), &key);
    put(master, &at("loop.kubeconfig"), &kubeconfig(&ca).replace("client-key-data", "client-key: x, x"));
    let refused = refusals(&plan_at(&settings, sets, NOW));
    for part in [
        "/etc/origin/master/ca.crt does not fit its key /etc/origin/master/ca.key",
        "/etc/origin/master/master.crt is for other.example.com, not for m1, 127.0.0.1, 10.0.0.1",
        "/etc/origin/master/master.crt is signed by none of the authorities in /etc/origin/master/ca.crt",
        "/etc/origin/master/public.crt does not fit its key",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
}

#[test]
fn kubeadms_pods_name_their_certificates_by_paths_of_their_mounts() {
    let (ca, other) = (Authority::new("ca", LATER), Authority::new("ca", LATER));
    let (settings, mut sets) = cluster();
    let pod = "spec:\n  containers:\n  - name: kube-apiserver\n    command:\n    - kube-apiserver\n    - --client-ca-file=/pki/ca.crt\n    \
        - --tls-cert-file=/pki/apiserver.crt\n    - --tls-private-key-file=/pki/apiserver.key\n    \
        volumeMounts: [{ name: pki, mountPath: /pki }]\n  volumes: [{ name: pki, hostPath: { path: /etc/kubernetes/pki } }]\n";
    let (certificate, key) = ca.issue(&["m1"], LATER);
    let master = &mut sets[3];
    put(master, "/etc/kubernetes/manifests/kube-apiserver.yaml", pod);
    put(master, "/etc/kubernetes/pki/apiserver.crt", &certificate);
    put(master, "/etc/kubernetes/pki/apiserver.key", &key);
    put(master, "/etc/kubernetes/pki/ca.crt", &ca.pem());
    assert_eq!(refusals(&plan_at(&settings, sets.clone(), NOW)), "");
    put(&mut sets[3], "/etc/kubernetes/pki/ca.crt", &other.pem());
    let refused = refusals(&plan_at(&settings, sets, NOW));
    assert!(
        refused.contains("apiserver.crt is signed by none of the authorities in /etc/kubernetes/pki/ca.crt")
    );
}

#[test]
fn a_kubelets_expired_certificate_is_refused_only_where_it_starts_the_control_plane() {
    let ca = Authority::new("ca", LATER);
    let (settings, mut sets) = cluster();
    let (certificate, key) = ca.issue(&[], NOW - DAY);
    for index in [3, 4] {
        let set = &mut sets[index];
        put(set, "/etc/origin/node/node-config.yaml", "masterKubeConfig: node.kubeconfig\n");
        put(
            set,
            "/etc/origin/node/node.kubeconfig",
            "users: [{ name: u, user: { client-certificate: certificates/current.pem, client-key: certificates/current.pem } }]\n",
        );
        put(set, "/etc/origin/node/certificates/2026.pem", &(certificate.clone() + &key));
        let target = ItemKind::Symlink { target: "2026.pem".into() };
        let link = "etc/origin/node/certificates/current.pem";
        let item = Item { kind: target, ..fixtures::file(link, &format!("/{link}"), b"") };
        set.manifest.items.push(item);
    }
    let plan = plan_at(&settings, sets.clone(), NOW);
    assert_eq!(refusals(&plan), "");
    let lost = texts(&plan, FindingKind::Lost);
    for host in ["m1", "n1"] {
        let part = format!("{host}: /etc/origin/node/certificates/current.pem expired on 2027-01-14");
        assert!(lost.contains(&part), "{part}: {lost}");
    }
    sets[3].manifest.system = Some(System {
        os: "centos 7".into(),
        architecture: "x86_64".into(),
        control_plane: Some(ControlPlane::StaticPods),
    });
    let refused = refusals(&plan_at(&settings, sets, NOW));
    assert!(
        refused.contains("m1: certificates that do not fit: /etc/origin/node/certificates/current.pem"),
        "{refused}"
    );
}
