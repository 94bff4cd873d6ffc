//! Values that the API server encrypted: decrypted each night with the keys in the masters' sets.

use std::fs;

use kit::lab::Role::{Etcd, Master};
use kit::site::{Plan, Site};
use serde_json::{Value, json};

use crate::support::{ends_with, good, names, outcome, reason, set_folder, verdict};

/// `k8s\0a secret that no one reads` under AES-CBC, with IV, made by Go's `crypto/cipher` as the API server does it. The key's 32
/// bytes count from 1 up.
const SEALED: [u8; 48] = [
    0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f, 0x62,
    0x62, 0x0e, 0x41, 0x03, 0x79, 0x89, 0xf6, 0x52, 0xa8, 0x1b, 0xaa, 0x15, 0x86, 0xac, 0xa8, 0xfb, 0x59,
    0xd7, 0x7a, 0xec, 0x57, 0x44, 0xa5, 0xb6, 0x7d, 0x59, 0x49, 0x00, 0x76, 0x5f, 0xb6,
];
const SECRET: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const MISSING: &str = "encrypted values: key \"key2\" is in no master set (aescbc, 1 value)";

/// A master and an etcd host with three secrets of the key that the master's configuration has.
fn site(prover: &str) -> Site {
    let site = Plan::new(&[("m1", &[Master]), ("e1", &[Etcd])]).build().unwrap();
    for host in ["m1", "e1"] {
        site.drop_in(host, "50-drill.toml", &format!("[drill]\nhosts = [\"{prover}.site.test\"]\n")).unwrap();
    }
    let files = format!("[files]\nmaster = [{:?}]\n", site.source("m1", "/etc/origin/master"));
    site.drop_in("m1", "50-files.toml", &files).unwrap();
    let config = "/etc/origin/master/encryption-config.yaml";
    let master_config = format!(
        "apiVersion: v1\nkubernetesMasterConfig:\n  apiServerArguments:\n    experimental-encryption-provider-config:\n    - {config}\n"
    );
    site.lay("m1", "/etc/origin/master/master-config.yaml", master_config.as_bytes()).unwrap();
    let keys = format!(
        "kind: EncryptionConfig\napiVersion: v1\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      keys:\n      - name: key1\n        secret: {SECRET}\n  - identity: {{}}\n"
    );
    site.lay("m1", config, keys.as_bytes()).unwrap();
    for number in 0..3 {
        put(&site, number, "key1");
    }
    site
}

fn put(site: &Site, number: u32, key: &str) {
    let value = [format!("k8s:enc:aescbc:v1:{key}:").as_bytes(), &SEALED].concat();
    site.etcd[0].put(&format!("/kubernetes.io/secrets/shop/{number}"), value).unwrap();
}

/// Neither key nor plain text is in the journal, the record, a proof, or any other file that nightshift writes beside the set.
fn assert_nothing_leaked(site: &Site, host: &str) {
    let mut texts = vec![site.log(host)];
    let state = site.host(host).state();
    for name in names(&state.join("records")) {
        texts.push(fs::read_to_string(state.join("records").join(name)).unwrap());
    }
    let proofs = set_folder(site, host, "e1", "etcd.proofs");
    texts.extend(names(&proofs).iter().map(|name| fs::read_to_string(proofs.join(name)).unwrap()));
    for text in texts {
        assert!(!text.contains(SECRET) && !text.contains("no one reads"), "{text}");
    }
}

#[test]
fn a_drill_on_a_master_decrypts_all_secrets_and_names_a_key_that_no_set_contains() {
    let mut site = site("m1");
    site.night().unwrap();
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (0, "complete"), "{:#}", status["night"]["reasons"]);
    let secrets = &status["night"]["record"]["proofs"][0]["secrets"];
    assert_eq!(secrets, &json!({ "values": 3, "decrypted": 3 }));
    let night = status["night"]["record"]["night"].as_str().unwrap();
    let shown = good(site.run("m1", &["nights", night]).unwrap()).stdout;
    assert!(shown.contains("encrypted values: 3 of 3 decrypt"), "{shown}");
    assert_nothing_leaked(&site, "m1");

    // Written with a key that has no file any more.
    put(&site, 9, "key2");
    good(site.run("e1", &["run", "snapshot-etcd", "--again", "--wait"]).unwrap());
    good(site.run("m1", &["run", "pull-etcd", "--wait"]).unwrap());
    ends_with(site.run("m1", &["run", "drill", "--wait"]).unwrap(), 3);
    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status), reason(&status, "drill")), (3, "degraded", MISSING));
    let proof = &status["night"]["record"]["proofs"][1];
    assert_eq!(
        (&proof["verdict"], &proof["secrets"]["decrypted"]),
        (&json!("proved"), &json!(3)),
        "{proof:#}"
    );
    let ran = good(site.run("m1", &["drill"]).unwrap());
    assert!(ran.stdout.contains("3 of 4 decrypt; key \"key2\" is in no master set"), "{ran:?}");
}

#[test]
fn after_a_drill_on_an_etcd_host_each_master_checks_the_secrets_itself() {
    let mut site = site("e1");
    put(&site, 9, "key2");
    site.night().unwrap();
    let (_, status) = site.status("e1").unwrap();
    assert_eq!(outcome(&status, "drill"), "done");
    let proof = &status["night"]["record"]["proofs"][0]["secrets"];
    let unchecked = "e1.site.test has no master set of night ";
    assert!(proof["unchecked"].as_str().unwrap().starts_with(unchecked), "{proof:#}");
    assert_eq!((&proof["values"], &proof["decrypted"]), (&json!(4), &json!(0)));

    let (code, status) = site.status("m1").unwrap();
    assert_eq!((code, verdict(&status)), (3, "degraded"));
    assert_eq!(reason(&status, "drill"), MISSING);
    assert_eq!(
        status["night"]["reasons"],
        json!([{ "code": "stage-degraded", "text": format!("drill degraded: {MISSING}") }])
    );
    let checked = &status["night"]["record"]["secrets"][0];
    assert_eq!((&checked["values"], &checked["decrypted"]), (&json!(4), &json!(3)));
    assert_eq!(status["night"]["etcd"][0]["secrets"]["decrypted"], 3, "{:#}", status["night"]["etcd"]);
    let proved: Vec<&Value> = status["night"]["etcd"][0]["drills"].as_array().unwrap().iter().collect();
    assert_eq!(proved[0]["verdict"], "proved", "etcd itself restores");
    assert_eq!(names(&site.host("m1").state().join("scratch")), [""; 0]);
    assert_nothing_leaked(&site, "m1");
}
