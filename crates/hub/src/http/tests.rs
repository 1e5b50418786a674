//! Who is let in where: every route, every role. A route that nobody has thought of is seen here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::any;
use expect_test::expect_file;
use kinora_access::node::{SigningKey, Statement};
use kinora_access::{Actor, Secret, User, Via};
use kinora_protocol::access::{Enroll, Kind, NewEnrollment, NewKey, NewUser, Right, Role, Subject};
use kinora_protocol::{KeyId, NodeId, UserId};
use tower::ServiceExt as _;

use super::peer::Arrival;
use super::*;
use crate::Settings;
use crate::app::access::Caller;

/// Paths of the page that shows the document, which another crate serves.
const PAGE: [&str; 4] = ["/api/openapi.json", "/api/docs", "/api/docs/", "/api/docs/{*rest}"];

#[test]
fn every_route_has_a_rule_and_every_rule_a_route() {
    let document = serde_json::to_value(document()).unwrap();
    let mut served = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let method = method.to_uppercase();
            let rule = rules::ENTRIES.iter().find(|entry| entry.path == path && entry.method == method);
            assert!(rule.is_some(), "{method} {path} has no rule: say in http/rules.rs whom it lets in");
            served.insert(path.clone());
        }
    }
    for (path, _) in undocumented() {
        let rule = rules::ENTRIES.iter().find(|entry| entry.path == path);
        assert!(rule.is_some(), "{path} has no rule: say in http/rules.rs whom it lets in");
        served.insert(path.to_owned());
    }
    served.extend(PAGE.map(str::to_owned));
    for entry in rules::ENTRIES {
        assert!(served.contains(entry.path), "{} {} has a rule and is not served", entry.method, entry.path);
        let same = rules::ENTRIES.iter().filter(|e| (e.path, e.method) == (entry.path, entry.method));
        assert_eq!(same.count(), 1, "{} {} has two rules", entry.method, entry.path);
    }
}

async fn hub(open: bool) -> (tempfile::TempDir, Hub) {
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::open(folder.path(), Settings { open, node_identity_seconds: 600, ..Settings::default() })
        .await
        .unwrap();
    (folder, hub)
}

async fn user(hub: &Hub, name: &str, role: Role) -> (UserId, String) {
    let wanted = NewUser::new(name, role, "ten characters");
    let id = hub.new_user(wanted).await.unwrap().unwrap().id;
    let via = Via::Key { id: KeyId::from(uuid::Uuid::nil()), name: String::new(), scopes: None };
    let actor = Actor::User(User { id, name: name.to_owned(), role, teams: Vec::new(), via });
    (id, key(hub, &actor, None).await)
}

async fn key(hub: &Hub, actor: &Actor, scope: Option<&str>) -> String {
    let scopes = scope.map(|scope| vec![scope.parse().unwrap()]);
    let wanted = NewKey { name: "test".to_owned(), scopes, expires_in: None, user: None, login: false };
    hub.new_key(actor, wanted).await.unwrap().unwrap().key.unwrap()
}

/// The identity of a machine that was let in.
async fn enrolled(hub: &Hub) -> String {
    let made = hub.new_enrollment(&Actor::Local, NewEnrollment::default()).await.unwrap().unwrap();
    let token = made.token.unwrap();
    let (secret, pin) = token.rsplit_once('_').unwrap();
    let (secret, id): (Secret, String) = (secret.parse().unwrap(), made.id.to_string());
    let key = SigningKey::read(&SigningKey::generate().unwrap()).unwrap();
    let said = Statement::Enroll { token: &id, node: "n", hub: pin };
    let asked = Enroll {
        token: made.id,
        node: NodeId::from("n".to_owned()),
        public_key: key.public(),
        signature: key.sign(said),
        proof: secret.proof(said, &key.public()),
    };
    let caller = Caller::nobody(std::net::Ipv4Addr::LOCALHOST.into(), String::new());
    hub.enroll(&caller, asked).await.unwrap().unwrap().token
}

/// Whether a route lets somebody in, who shows `key`: its rule is asked by what stands before all handlers, and the handlers are
/// left out.
async fn asked(hub: &Hub, entry: &rules::Entry, key: Option<&str>, near: bool) -> StatusCode {
    let reached = || async { StatusCode::IM_A_TEAPOT };
    let router: Router = Router::new()
        .route(entry.path, any(reached))
        .layer(axum::middleware::from_fn_with_state(hub.clone(), authorise::admit))
        .with_state(hub.clone());
    let words = entry.path.split('/').map(|word| if word.starts_with('{') { "thing" } else { word });
    let path = words.collect::<Vec<_>>().join("/");
    let mut request = Request::builder().method(entry.method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let mut request = request.body(Body::empty()).unwrap();
    let from = if near { [127, 0, 0, 1] } else { [192, 0, 2, 7] };
    let arrival = Arrival { from: SocketAddr::from((from, 4242)), here: near, encrypted: false };
    request.extensions_mut().insert(arrival);
    router.oneshot(request).await.unwrap().status()
}

fn word(status: StatusCode) -> &'static str {
    match status {
        StatusCode::IM_A_TEAPOT => "yes",
        StatusCode::UNAUTHORIZED => "401",
        StatusCode::FORBIDDEN => "403",
        StatusCode::NOT_FOUND => "404",
        _ => "???",
    }
}

#[tokio::test]
async fn every_route_for_every_role() {
    let (_folder, hub) = hub(false).await;
    let (_, admin) = user(&hub, "ada", Role::Admin).await;
    let (viewer, of_viewer) = user(&hub, "vera", Role::Viewer).await;
    let (editor, of_editor) = user(&hub, "emil", Role::Editor).await;
    let (_, of_foreign) = user(&hub, "fred", Role::Editor).await;
    // The thing that all paths name is the editor's, and the viewer may see it.
    for kind in [Kind::Media, Kind::Upload, Kind::Job, Kind::Webhook, Kind::Folder] {
        hub.store().give(kind, "thing", Subject::User(editor), Right::Own).await.unwrap();
        hub.store().give(kind, "thing", Subject::User(viewer), Right::View).await.unwrap();
    }
    let via = Via::Key { id: KeyId::from(uuid::Uuid::nil()), name: String::new(), scopes: None };
    let emil =
        Actor::User(User { id: editor, name: "emil".into(), role: Role::Editor, teams: Vec::new(), via });
    let of_reader = key(&hub, &emil, Some("all:read")).await;
    let (local, node) = (hub.local_key(), enrolled(&hub).await);
    let callers = [
        ("nobody", None),
        ("viewer", Some(of_viewer.as_str())),
        ("editor", Some(of_editor.as_str())),
        ("foreign", Some(of_foreign.as_str())),
        ("read key", Some(of_reader.as_str())),
        ("admin", Some(admin.as_str())),
        ("node", Some(node.as_str())),
        ("local", Some(local.as_str())),
        (
            "forged",
            Some(
                "kn_00000000000000000000000000000000_0000000000000000000000000000000000000000000000000000000000000000",
            ),
        ),
    ];
    let mut table = format!("{:<68}", "");
    for (name, _) in &callers {
        write!(table, " {name:<8}").unwrap();
    }
    for entry in rules::ENTRIES {
        let route = format!("{} {}", entry.method, entry.path);
        write!(table, "\n{route:<68}").unwrap();
        for (name, key) in &callers {
            // The key beside the files is good on their machine.
            let near = *name == "local";
            write!(table, " {:<8}", word(asked(&hub, entry, *key, near).await)).unwrap();
        }
    }
    let table: Vec<&str> = table.lines().map(str::trim_end).collect();
    expect_file!["../../tests/routes.txt"].assert_eq(&(table.join("\n") + "\n"));
}

#[tokio::test]
async fn who_sits_at_an_open_hub_may_do_everything_until_there_is_a_user() {
    let (_folder, hub) = hub(true).await;
    let jobs = rules::ENTRIES.iter().find(|entry| entry.path == "/api/v1/jobs").unwrap();
    assert_eq!(asked(&hub, jobs, None, true).await, StatusCode::IM_A_TEAPOT);
    assert_eq!(asked(&hub, jobs, None, false).await, StatusCode::UNAUTHORIZED, "from elsewhere");
    let local = hub.local_key();
    assert_eq!(asked(&hub, jobs, Some(&local), true).await, StatusCode::IM_A_TEAPOT);
    assert_eq!(asked(&hub, jobs, Some(&local), false).await, StatusCode::UNAUTHORIZED, "from elsewhere");
    user(&hub, "ada", Role::Admin).await;
    assert_eq!(asked(&hub, jobs, None, true).await, StatusCode::UNAUTHORIZED);
    let (_folder, closed) = self::hub(false).await;
    assert_eq!(asked(&closed, jobs, None, true).await, StatusCode::UNAUTHORIZED, "one that others can reach");
}

#[tokio::test]
async fn a_route_without_a_rule_lets_nobody_in() {
    let (_folder, hub) = hub(true).await;
    let forgotten = rules::Entry { path: "/api/v1/forgotten", ..rules::ENTRIES[0] };
    assert_eq!(asked(&hub, &forgotten, None, true).await, StatusCode::FORBIDDEN);
}
