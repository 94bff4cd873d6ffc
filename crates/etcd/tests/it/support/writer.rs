//! Writes like an API server's, with this crate's client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nightshift_etcd::client::Client;
use nightshift_etcd::discover::{LocalMember, TlsFiles};
use nightshift_etcd::error::ClientError;

/// A member at this URL, over plain HTTP.
pub fn local(url: &str) -> LocalMember {
    let tls = TlsFiles::default();
    LocalMember { endpoint: url.to_owned(), tls, ..LocalMember::default() }
}

/// Writes to a member, like an API server.
#[derive(Clone)]
pub struct Writer(Client);

impl Writer {
    pub async fn connect(url: &str) -> Self {
        Self(Client::connect(&local(url), Duration::from_secs(60)).await.unwrap())
    }

    pub async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), ClientError> {
        self.0.put(key.as_bytes(), &value).await.map(drop)
    }

    /// Writes objects until there are `bytes` of them, 64 at a time.
    pub async fn fill(&self, bytes: usize) {
        const AT_ONCE: u64 = 64;
        let written = Arc::new(AtomicU64::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for lane in 0..AT_ONCE {
            let (writer, written) = (self.clone(), Arc::clone(&written));
            writers.spawn(async move {
                let mut random = Random(lane + 1);
                for number in (lane..).step_by(AT_ONCE as usize) {
                    if written.load(Ordering::Relaxed) >= bytes as u64 {
                        break;
                    }
                    let value = object(&mut random, number);
                    written.fetch_add(value.len() as u64, Ordering::Relaxed);
                    writer
                        .put(&format!("/registry/pods/project-{}/pod-{number:08}", number % 97), value)
                        .await
                        .unwrap();
                }
            });
        }
        while let Some(done) = writers.join_next().await {
            done.unwrap();
        }
    }
}

/// The same seed gives the same sequence.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits.div_ceil(16)).map(|_| format!("{:016x}", self.next())).collect::<String>()[..digits]
            .to_owned()
    }

    fn uid(&mut self) -> String {
        [8, 4, 4, 4, 12].map(|digits| self.hex(digits)).join("-")
    }
}

/// A pod as the API server stores it, 7–10 KiB: mostly words that repeat, with ids, digests, addresses and a signature that do
/// not. gzip compresses it to about a fifth.
pub fn object(random: &mut Random, number: u64) -> Vec<u8> {
    let mut text = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"pod-{number:08}","generateName":"app-{}-","namespace":"project-{}","uid":"{}","resourceVersion":"{number}","creationTimestamp":"2026-11-{:02}T{:02}:{:02}:{:02}Z","labels":{{"app":"app-{}","deployment":"app-{}","pod-template-hash":"{}"}},"annotations":{{"openshift.io/scc":"restricted","openshift.io/generated-by":"OpenShiftNewApp","example.com/signature":"{}"}},"ownerReferences":[{{"apiVersion":"v1","kind":"ReplicationController","name":"app-{}","uid":"{}","controller":true,"blockOwnerDeletion":true}}]}},"spec":{{"#,
        number % 331,
        number % 97,
        random.uid(),
        1 + number % 28,
        number % 24,
        random.next() % 60,
        random.next() % 60,
        number % 331,
        number % 331,
        random.hex(10),
        random.hex(1200),
        number % 331,
        random.uid(),
    );
    text.push_str(r#""volumes":[{"name":"default-token","secret":{"secretName":"default-token","defaultMode":420}}],"containers":["#);
    for container in 0..3 + random.next() % 3 {
        text.push_str(&format!(
            r#"{{"name":"container-{container}","image":"docker-registry.default.svc:5000/project-{}/app@sha256:{}","ports":[{{"containerPort":{},"protocol":"TCP"}}],"resources":{{"limits":{{"cpu":"500m","memory":"512Mi"}},"requests":{{"cpu":"100m","memory":"256Mi"}}}},"volumeMounts":[{{"name":"default-token","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}}],"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"Always","securityContext":{{"capabilities":{{"drop":["KILL","MKNOD","SETGID","SETUID"]}},"runAsUser":{}}},"env":["#,
            number % 97, random.hex(64), 1024 + random.next() % 60000, 1_000_000_000 + random.next() % 10_000_000,
        ));
        for variable in 0..6 {
            text.push_str(&format!(r#"{{"name":"SETTING_{variable}","value":"{}"}},"#, random.hex(12)));
        }
        text.push_str(r#"{"name":"TZ","value":"UTC"}]},"#);
    }
    text.push_str(&format!(
        r#"],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","nodeSelector":{{"node-role.kubernetes.io/compute":"true"}},"serviceAccountName":"default","nodeName":"node{:02}.example.com"}},"status":{{"phase":"Running","hostIP":"10.0.3.{}","podIP":"10.128.{}.{}","containerStatuses":["#,
        number % 40, number % 40, random.next() % 255, random.next() % 255,
    ));
    for container in 0..4 {
        text.push_str(&format!(
            r#"{{"name":"container-{container}","state":{{"running":{{"startedAt":"2026-11-22T21:{:02}:{:02}Z"}}}},"lastState":{{}},"ready":true,"restartCount":0,"containerID":"docker://{}","imageID":"docker-pullable://docker-registry.default.svc:5000/app@sha256:{}"}},"#,
            random.next() % 60, random.next() % 60, random.hex(64), random.hex(64),
        ));
    }
    text.push_str(r#"],"qosClass":"Burstable"}}"#);
    text.into_bytes()
}
