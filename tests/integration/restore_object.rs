//! Objects of a night, brought back through an API server, into files, or into etcd.

use std::fs;
use std::path::{Path, PathBuf};

use kit::lab::Role::{Etcd, Master};
use kit::lab::cmd::Cmd;
use kit::site::{Plan, Ran, Site};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api_server::ApiServer;
use crate::support::{ends_with, good, names, shell};

/// `runtime.Unknown` of the secret `token` in the namespace `shop`, as the API server stores it.
const TOKEN: &[u8] = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x16\x0a\x14\x0a\x05token\x12\x00\x1a\x04shop\x2a\x03u-1\x1a\x00\x22\x00";
/// 32 bytes in Base64 and in hexadecimal.
const KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const KEY_HEX: &str = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20";
const IV_HEX: &str = "404142434445464748494a4b4c4d4e4f";
const ROOT: &str = "/kubernetes.io";

fn object(api_version: &str, kind: &str, name: &str, owner: Option<(&str, &str, &str)>) -> Value {
    let namespace = if kind == "Namespace" { "" } else { "shop" };
    let owners: Vec<Value> = owner
        .iter()
        .map(|(kind, name, uid)| {
            json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true })
        })
        .collect();
    json!({ "apiVersion": api_version, "kind": kind,
            "metadata": { "name": name, "namespace": namespace, "uid": format!("old-{name}"), "ownerReferences": owners } })
}

/// A master that is an etcd host too, with a namespace in its etcd. One secret is encrypted, with a key of the master's configuration.
fn site() -> Site {
    let site = Plan::new(&[("m1", &[Master, Etcd])]).build().unwrap();
    let files = format!("[files]\nmaster = [{:?}]\n", site.source("m1", "/etc/origin/master"));
    site.drop_in("m1", "50-files.toml", &files).unwrap();
    let keys = format!(
        "kind: EncryptionConfig\napiVersion: v1\nresources:\n- resources: [secrets]\n  providers:\n  - aescbc:\n      keys: [{{ name: key1, secret: {KEY} }}]\n"
    );
    site.lay("m1", "/etc/origin/master/encryption.yaml", keys.as_bytes()).unwrap();
    let put = |path: &str, value: Value| {
        site.etcd[0].put(&format!("{ROOT}/{path}"), value.to_string()).unwrap();
    };
    put("namespaces/shop", object("v1", "Namespace", "shop", None));
    put("serviceaccounts/shop/bot", object("v1", "ServiceAccount", "bot", None));
    put("deployments/shop/web", object("apps/v1", "Deployment", "web", None));
    let web = Some(("Deployment", "web", "old-web"));
    put("replicasets/shop/web-1", object("apps/v1", "ReplicaSet", "web-1", web));
    put("configmaps/shop/owned", object("v1", "ConfigMap", "owned", web));
    put(
        "configmaps/shop/orphan",
        object("v1", "ConfigMap", "orphan", Some(("Deployment", "gone", "old-gone"))),
    );
    put("events/shop/e", object("v1", "Event", "e", None));
    let mut other = object("v1", "Pod", "shop", None);
    other["metadata"]["namespace"] = "other".into();
    put("pods/other/shop", other);
    let sealed = Cmd::new("openssl")
        .args(["enc", "-aes-256-cbc", "-K", KEY_HEX, "-iv", IV_HEX])
        .stdin(TOKEN)
        .run()
        .unwrap()
        .stdout;
    let iv: Vec<u8> = (0x40..0x50).collect();
    let value = [b"k8s:enc:aescbc:v1:key1:".as_slice(), &iv, &sealed].concat();
    site.etcd[0].put(&format!("{ROOT}/secrets/shop/token"), value).unwrap();
    site
}

fn restore(site: &Site, from: &Path, api: &ApiServer, words: &[&str]) -> Ran {
    let (from, kubectl) = (from.display().to_string(), api.kubectl.display().to_string());
    let ran = site
        .run("m1", &[&["restore", "object", "--from", &from, "--kubectl", &kubectl], words].concat())
        .unwrap();
    println!("{words:?}: {}\n{}\n{}", ran.code, ran.stdout, ran.stderr);
    ran
}

#[test]
fn a_deleted_namespace_is_checked_first_and_then_created_in_order_with_its_owners_of_now() {
    let mut site = site();
    site.night().unwrap();
    let scratch = TempDir::new().unwrap();
    let api = ApiServer::start(scratch.path(), "34");
    let vault = site.host("m1").vault();
    let scratch_words = ["--namespace", "shop", "--scratch", scratch.path().to_str().unwrap()];
    let run = |words: &[&str]| restore(&site, &vault, &api, &[&scratch_words, words].concat());
    let before = names(scratch.path());

    let preview = ends_with(run(&[]), 1);
    assert!(preview.stderr.contains("nothing was created"), "{preview:?}");
    assert_eq!(api.log(), ["/api/v1/namespaces?dryRun=All shop"], "nothing but a dry run");
    for part in [
        "to   https://api.site.test:6443, Kubernetes 1.34",
        "from m1.site.test/",
        "made by its controller, Deployment web",
        "events are not restored",
        "its owner is gone",
    ] {
        assert!(preview.stdout.contains(part), "{part}");
    }

    let created = ends_with(run(&["--yes"]), 3);
    let (namespace, apps) = ("/api/v1/namespaces/shop", "/apis/apps/v1/namespaces/shop/deployments");
    let others = |query: &str| {
        vec![
            format!("{namespace}/serviceaccounts{query} bot"),
            format!("{namespace}/secrets{query} token"),
            format!("{apps}{query} web"),
            format!("{namespace}/configmaps{query} owned"),
        ]
    };
    let first = ["/api/v1/namespaces?dryRun=All shop", "/api/v1/namespaces shop"].map(str::to_owned).to_vec();
    assert_eq!(api.log(), [first, others("?dryRun=All"), others("")].concat());
    assert!(created.stdout.contains("5 created, 0 exists, 2 skipped, 1 refused"), "{created:?}");
    assert_eq!(api.body("token"), TOKEN, "the stored bytes, decrypted");
    let owned = api.object(&format!("{namespace}/configmaps/owned")).unwrap();
    assert_eq!(owned["metadata"]["ownerReferences"][0]["uid"], "new-web", "the owner's uid of now");
    assert!(!created.stdout.contains("hunter") && !created.stdout.contains("aHVu"), "{created:?}");

    // Again: what exists is left alone. The references of the rest are left out by choice.
    let again = good(run(&["--yes", "--show", "--without-owners"]));
    let orphan = format!("{namespace}/configmaps");
    assert_eq!(api.log(), [format!("{orphan}?dryRun=All orphan"), format!("{orphan} orphan")]);
    let created = api.object(&format!("{orphan}/orphan")).unwrap();
    assert_eq!(created["metadata"]["ownerReferences"], json!([]));
    assert!(
        again.stdout.contains("ConfigMap shop/orphan: created; without its owner, which is gone"),
        "{again:?}"
    );
    assert!(again.stdout.contains("name: orphan"), "the preview: {again:?}");

    assert_eq!(api.proxies(), [""; 0], "each proxy has ended");
    assert_eq!(fs::read_to_string(scratch.path().join("mode")).unwrap().trim(), "700");
    let left: Vec<String> = names(scratch.path()).into_iter().filter(|name| !before.contains(name)).collect();
    assert_eq!(left, ["mode", "pids"], "nothing decrypted is left");
}

/// What etcdctl saves.
fn saved(site: &Site, directory: &Path) -> PathBuf {
    let file = directory.join("saved.db");
    site.etcd[0].etcdctl(&["snapshot", "save", file.to_str().unwrap()]).unwrap();
    file
}

#[test]
fn a_server_without_dry_runs_gets_none_and_objects_are_chosen_by_kind_and_name() {
    let site = site();
    let forbidden = object("v1", "ConfigMap", "forbidden", None);
    site.etcd[0].put(&format!("{ROOT}/configmaps/shop/forbidden"), forbidden.to_string()).unwrap();
    let scratch = TempDir::new().unwrap();
    let file = saved(&site, scratch.path());
    let api = ApiServer::start(scratch.path(), "11+");
    let run = |words: &[&str]| restore(&site, &file, &api, words);

    let refused = ends_with(run(&["deployment/web"]), 2);
    assert!(refused.stderr.contains("which has no signature"), "{refused:?}");
    let refused = ends_with(run(&["configmap/none", "--unsigned"]), 1);
    assert!(refused.stderr.contains("the snapshot has no configmap/none"), "{refused:?}");
    let refused = ends_with(run(&["secret/token", "--unsigned", "--yes"]), 1);
    assert!(refused.stderr.contains("which no set of a master of this night contains"), "{refused:?}");

    // Its namespace does not exist.
    let refused = ends_with(run(&["deployment/web", "--unsigned", "--yes"]), 1);
    assert!(refused.stdout.contains("namespace shop does not exist; create it"), "{refused:?}");
    let namespace = format!("{ROOT}/namespaces/shop");
    good(run(&[&namespace, "--unsigned", "--yes"]));
    let web = good(run(&["deployments.apps/web", "--namespace", "shop", "--unsigned", "--yes"]));
    assert!(web.stdout.contains("Kubernetes 1.11+ cannot check without a change"), "{web:?}");
    assert_eq!(api.log(), ["/api/v1/namespaces shop", "/apis/apps/v1/namespaces/shop/deployments web"]);
    // What the operator may not read is refused, and the rest continues.
    let partly = ends_with(run(&["configmap/forbidden", "serviceaccount/bot", "--unsigned", "--yes"]), 3);
    assert!(partly.stdout.contains("403 Forbidden: you may not read it"), "{partly:?}");
    assert_eq!(api.log(), ["/api/v1/namespaces/shop/serviceaccounts bot"]);
    let again = good(run(&["deployment/web", "--unsigned", "--yes"]));
    assert!(again.stdout.contains("left alone") && again.stdout.contains("nothing to create"), "{again:?}");
    assert_eq!(api.log(), [""; 0]);
}

#[test]
fn objects_become_files_or_absent_keys_of_etcd() {
    let site = site();
    let scratch = TempDir::new().unwrap();
    let file = saved(&site, scratch.path());
    let api = ApiServer::start(scratch.path(), "34");
    let run = |words: &[&str]| restore(&site, &file, &api, words);
    let config = scratch.path().join("enc.yaml");
    let text = format!(
        "kind: EncryptionConfig\nresources: [{{ providers: [{{ aescbc: {{ keys: [{{ name: key1, secret: {KEY} }}] }} }}] }}]\n"
    );
    fs::write(&config, text).unwrap();

    let to = scratch.path().join("json");
    let config = config.to_str().unwrap();
    let words = |to: &Path| {
        let words = ["secret/token", "configmap/owned", "--unsigned", "--encryption-config", config, "--to"];
        [words.map(str::to_owned).to_vec(), vec![to.display().to_string()]].concat()
    };
    let run_words = |words: Vec<String>| run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    good(run_words(words(&to)));
    assert_eq!(names(&to), ["configmap_shop_owned.json", "secret_shop_token.json"]);
    assert_eq!(api.log(), ["/api/v1/namespaces/default/secrets?dryRun=All nightshift-dry-run"]);
    let secret: Value =
        serde_json::from_slice(&fs::read(to.join("secret_shop_token.json")).unwrap()).unwrap();
    assert_eq!(secret["metadata"], json!({ "name": "token", "namespace": "shop" }));

    // Without an API server.
    fs::write(&api.kubectl, "#!/bin/sh\nexit 1\n").unwrap();
    let to = scratch.path().join("files");
    let written = ends_with(run_words(words(&to)), 3);
    assert_eq!(names(&to), ["configmap_shop_owned.json", "secret_shop_token.pb"]);
    assert!(written.stdout.contains("as stored (protobuf)"), "{written:?}");
    assert!(written.stdout.contains("remove ownerReferences if that is gone"), "{written:?}");
    assert_eq!(fs::read(to.join("secret_shop_token.pb")).unwrap(), TOKEN);
    assert_eq!(shell("stat -c %a \"$1\" \"$1\"/*", &[&to]), "700\n600\n600");
    let owned: Value =
        serde_json::from_slice(&fs::read(to.join("configmap_shop_owned.json")).unwrap()).unwrap();
    assert_eq!((&owned["metadata"]["name"], owned["metadata"].get("uid")), (&json!("owned"), None));

    let key = format!("{ROOT}/deployments/shop/web");
    let before = site.etcd[0].etcdctl(&["get", "--print-value-only", &key]).unwrap().stdout;
    site.etcd[0].etcdctl(&["del", &key]).unwrap();
    let refused = ends_with(run(&["deployment/web", "--to-etcd", "--unsigned"]), 2);
    assert!(refused.stderr.contains("--to-etcd needs keys"), "{refused:?}");
    let created = good(run(&[&key, "--to-etcd", "--unsigned", "--yes"]));
    assert!(created.stdout.ends_with("deployments/shop/web: created"), "{created:?}");
    assert_eq!(site.etcd[0].etcdctl(&["get", "--print-value-only", &key]).unwrap().stdout, before);
    site.etcd[0].put(&key, "newer").unwrap();
    let left = good(run(&[&key, "--to-etcd", "--unsigned", "--yes"]));
    assert!(left.stdout.ends_with("deployments/shop/web: exists; left alone"), "{left:?}");
    assert_eq!(site.etcd[0].etcdctl(&["get", "--print-value-only", &key]).unwrap().text(), "newer");
}
