//! What a restore refuses before anything is changed: by name, with what to do, and with nothing written but the refusal.

use std::fs;
use std::path::{Path, PathBuf};

use kit::lab::Role::{BackupServer, Etcd, Master, Node};
use kit::site::{Plan, Ran, Site};
use serde_json::Value;

use crate::support::{archive_in, ends_with, has, names, sha256, shell};

const MASTER_CONFIG: &str = "kind: MasterConfig
servingInfo: { certFile: master.server.crt, keyFile: master.server.key, clientCA: ca.crt }
etcdClientInfo: { ca: ca.crt, certFile: foreign.crt, keyFile: foreign.key }
kubernetesMasterConfig: { apiServerArguments: { experimental-encryption-provider-config: [/etc/origin/master/enc.yaml] } }
";
const KEYS: &str = "kind: EncryptionConfig\napiVersion: v1\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      \
    keys: [{ name: key1, secret: AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA= }]\n";
const WEBHOOK: &str = r#"{"kind":"ValidatingWebhookConfiguration","webhooks":[{"failurePolicy":"Fail"}]}"#;

/// A master whose server's certificate expired yesterday, whose client's certificate is another authority's, and with a value in etcd
/// of a key that no file has.
fn after_a_night(recipient: &str) -> Site {
    let hosts: [(&str, &[_]); 3] = [("m1", &[Master, Etcd]), ("n1", &[Node]), ("backup", &[BackupServer])];
    let mut site = Plan::new(&hosts).recipients(&[recipient]).build().unwrap();
    let master = site.source("m1", "/etc/origin/master");
    site.drop_in("m1", "50-files.toml", &format!("[files]\nmaster = [{master:?}]\n")).unwrap();
    let text = format!("ETCD_NAME={}\nETCD_DATA_DIR=/var/lib/etcd/\n", site.etcd[0].name);
    site.lay("m1", "/etc/etcd/etcd.conf", text.as_bytes()).unwrap();
    site.lay("m1", "/etc/origin/master/master-config.yaml", MASTER_CONFIG.as_bytes()).unwrap();
    site.lay("m1", "/etc/origin/master/enc.yaml", KEYS.as_bytes()).unwrap();
    shell(
        "cd \"$1\"; key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc'; exec 2>/dev/null
         openssl req -x509 $key -subj /CN=signer -keyout ca.key -out ca.crt -days 900
         openssl req -x509 $key -subj /CN=client -addext basicConstraints=CA:FALSE -keyout foreign.key -out foreign.crt -days 900
         openssl req $key -subj /CN=m1.site.test -keyout master.server.key -out r
         openssl x509 -req -in r -CA ca.crt -CAkey ca.key -set_serial 1 -days -1 -out master.server.crt; rm r",
        &[&master],
    );
    site.etcd[0].put("/kubernetes.io/secrets/ns/a", "k8s:enc:aescbc:v1:key2:0123456789abcdef").unwrap();
    site.etcd[0].put("/kubernetes.io/validatingwebhookconfigurations/policy", WEBHOOK).unwrap();
    site.night().unwrap();
    site
}

fn plan(site: &Site, from: &Path, words: &[&str]) -> (Ran, PathBuf) {
    let parent = tempfile::tempdir().unwrap().keep();
    let (from, at) = (from.display().to_string(), parent.display().to_string());
    let all = [&["restore", "plan", "--from", &from, "--in", &at, "--unsigned"], words].concat();
    (site.run("m1", &all).unwrap(), parent)
}

/// A plan that is refused for each of these reasons, and the directory with it.
fn refused(site: &Site, from: &Path, words: &[&str], reasons: &[&str]) -> PathBuf {
    let (ran, parent) = plan(site, from, words);
    let page = ends_with(ran, 1).stdout;
    println!("{page}");
    let refusals: Vec<&str> = page.lines().filter(|line| line.starts_with("refused: ")).collect();
    for reason in reasons {
        assert!(refusals.iter().any(|refusal| refusal.contains(reason)), "{reason}: {refusals:#?}");
    }
    assert_eq!(names(&parent).len(), 1);
    parent.join(&names(&parent)[0])
}

/// A copy of a vault in which a set's manifest says something else. Its signature no longer fits.
fn altered(vault: &Path, set: &str, alter: impl Fn(&mut Value, &Path)) -> PathBuf {
    let copy = tempfile::tempdir().unwrap().keep().join("vault");
    shell("cp -a \"$1\" \"$2\"; chmod -R u+w \"$2\"", &[vault, &copy]);
    let set = copy.join(set);
    let manifest = set.join("manifest.json");
    let mut value: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    alter(&mut value, &set);
    fs::write(&manifest, value.to_string()).unwrap();
    copy
}

/// The snapshot cut off after its half, packed again, with a manifest that fits.
fn tear(manifest: &mut Value, set: &Path) {
    shell(
        "cd \"$1\"; gzip -dc snapshot.db.gz > s; truncate -s $(($(stat -c %s s) / 8192 * 4096)) s; gzip -c s > snapshot.db.gz",
        &[set],
    );
    let (plain, packed) = (fs::read(set.join("s")).unwrap(), fs::read(set.join("snapshot.db.gz")).unwrap());
    let etcd = &mut manifest["etcd"];
    etcd["raw_size"] = plain.len().into();
    etcd["raw_sha256"] = sha256(&plain).into();
    let item = manifest["items"].as_array_mut().unwrap().iter_mut();
    let item = item.into_iter().find(|item| item["path"] == "snapshot.db.gz").unwrap();
    item["size"] = packed.len().into();
    item["sha256"] = sha256(&packed).into();
}

#[test]
fn a_restore_is_refused_by_name_before_anything_is_changed() {
    if !kit::require(has("age")) {
        return;
    }
    let keys = tempfile::tempdir().unwrap();
    let (identity, other) = (keys.path().join("identity"), keys.path().join("other"));
    for key in [&identity, &other] {
        shell("age-keygen -o \"$1\" 2>/dev/null", &[key]);
    }
    let mut site = after_a_night(&shell("age-keygen -y \"$1\"", &[&identity]));
    let archive = archive_in(&site.inbox());

    // The wrong age key.
    let (ran, parent) = plan(&site, &archive, &["--identity", other.to_str().unwrap()]);
    let ran = ends_with(ran, 1);
    assert!(ran.stderr.contains("cannot decrypt"), "{ran:?}");
    assert_eq!(names(&parent), [""; 0], "nothing is left");

    // Certificates that do not fit, and an encryption key that no file contains.
    let certificates = [
        "m1.site.test: certificates that do not fit",
        "/etc/origin/master/master.server.crt expired on",
        "/etc/origin/master/foreign.crt is signed by none of the authorities in /etc/origin/master/ca.crt",
        "use a night in which they fit",
    ];
    let key = ["key \"key2\" is in no master set", "use a night whose master sets contain the key"];
    let reasons = [&certificates[..], &key].concat();
    let directory = refused(&site, &archive, &["--identity", identity.to_str().unwrap()], &reasons);
    let page = fs::read_to_string(directory.join("page.txt")).unwrap();
    assert!(page.contains("delete validatingwebhookconfiguration/policy (failurePolicy Fail"), "{page}");
    let before = crate::support::hashes(&directory);
    for command in ["check", "apply"] {
        let ran = ends_with(site.run("m1", &["restore", command, directory.to_str().unwrap()]).unwrap(), 1);
        assert!((ran.stdout + &ran.stderr).contains("refused"));
    }
    assert_eq!(crate::support::hashes(&directory), before, "nothing was written");

    // Each night the master finds the same out by itself.
    let (_, status) = site.status("m1").unwrap();
    let restorable = status["night"]["record"]["restorable"]["reasons"].to_string();
    assert!(
        restorable.contains("master.server.crt expired on") && restorable.contains("key2"),
        "{restorable}"
    );
    let shown = ends_with(site.run("m1", &["status"]).unwrap(), 3).stdout;
    assert!(shown.contains("\nWARNING: ") && shown.contains("\nrestorable: no "), "{shown}");
    assert!(shown.contains("cannot be restored by `nightshift restore`: m1.site.test"), "{shown}");
    let night = status["night"]["record"]["night"].as_str().unwrap().to_owned();
    site.stop_all().unwrap();

    // A torn and a diverged snapshot, a missing member and a missing role.
    let vault = site.host("m1").vault();
    let set = |role: &str| format!("m1.site.test/{night}/{role}");
    let torn = altered(&vault, &set("etcd"), tear);
    refused(&site, &torn, &[], &["its snapshot is damaged", "use another night or another source"]);
    let diverged = altered(&vault, &set("etcd"), |manifest, _| manifest["grade"] = "diverged".into());
    refused(&site, &diverged, &["--night", &night], &["etcd is diverged", "use another night, or review it"]);
    for (role, reason) in [("etcd", "m1.site.test: no etcd set"), ("master", "m1.site.test: no master set")] {
        let missing = altered(&vault, &set(role), |_, _| {});
        fs::remove_dir_all(missing.join(set(role))).unwrap();
        refused(&site, &missing, &["--night", &night], &[reason]);
    }
}
