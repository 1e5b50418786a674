//! What each route asks of whoever calls it, in one table. A route that is not in it lets nobody in.

use axum::http::Method;
use kinora_access::Action;
use kinora_protocol::access::{Area, Kind};

/// What a route asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing: what is answered is for everybody.
    Public,
    /// To be somebody who may do this in general.
    Area(Action, Area),
    /// To be somebody who may do this with the thing that the path names.
    Thing(Action, Kind),
    /// To be a user, who does this with what is its own.
    Own(Action),
    /// To be a machine that works, or to have come to a hub that is open.
    Node,
}

/// A route with one of its methods.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// As it is given to the router.
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    pub(super) rule: Rule,
    /// Whether it is written down when it is done: what changes something, and not each piece of a transfer.
    pub(super) recorded: bool,
}

const fn entry(method: &'static str, path: &'static str, rule: Rule) -> Entry {
    let recorded = match rule {
        Rule::Area(action, _) | Rule::Thing(action, _) | Rule::Own(action) => !matches!(action, Action::Read),
        Rule::Public | Rule::Node => false,
    };
    Entry { path, method, rule, recorded }
}

const fn get(path: &'static str, rule: Rule) -> Entry {
    entry("GET", path, rule)
}

const fn post(path: &'static str, rule: Rule) -> Entry {
    entry("POST", path, rule)
}

const fn put(path: &'static str, rule: Rule) -> Entry {
    entry("PUT", path, rule)
}

const fn patch(path: &'static str, rule: Rule) -> Entry {
    entry("PATCH", path, rule)
}

const fn delete(path: &'static str, rule: Rule) -> Entry {
    entry("DELETE", path, rule)
}

const fn options(path: &'static str, rule: Rule) -> Entry {
    entry("OPTIONS", path, rule)
}

/// It is written down elsewhere, or comes too often.
const fn unrecorded(entry: Entry) -> Entry {
    Entry { recorded: false, ..entry }
}

const fn see(area: Area) -> Rule {
    Rule::Area(Action::Read, area)
}

const fn make(area: Area) -> Rule {
    Rule::Area(Action::Create, area)
}

const fn run(area: Area) -> Rule {
    Rule::Area(Action::Operate, area)
}

const fn look(kind: Kind) -> Rule {
    Rule::Thing(Action::Read, kind)
}

const fn act(kind: Kind) -> Rule {
    Rule::Thing(Action::Change, kind)
}

const fn remove(kind: Kind) -> Rule {
    Rule::Thing(Action::Delete, kind)
}

const fn hand(kind: Kind) -> Rule {
    Rule::Thing(Action::Share, kind)
}

/// All of them.
pub(super) static ENTRIES: &[Entry] = &[
    get("/health/live", Rule::Public),
    get("/health/ready", Rule::Public),
    get("/metrics", see(Area::System)),
    get("/api/openapi.json", Rule::Public),
    get("/api/docs", Rule::Public),
    get("/api/docs/", Rule::Public),
    get("/api/docs/{*rest}", Rule::Public),
    // Who somebody is.
    get("/setup", Rule::Public),
    post("/setup", Rule::Public),
    post("/api/v1/auth/setup", Rule::Public),
    get("/api/v1/auth/methods", Rule::Public),
    get("/api/v1/auth/oidc", Rule::Public),
    get("/api/v1/auth/oidc/callback", Rule::Public),
    post("/api/v1/auth/login", Rule::Public),
    post("/api/v1/auth/refresh", Rule::Public),
    get("/api/v1/auth/me", Rule::Public),
    post("/api/v1/auth/logout", Rule::Own(Action::Change)),
    post("/api/v1/auth/password", Rule::Own(Action::Change)),
    get("/api/v1/auth/sessions", Rule::Own(Action::Read)),
    delete("/api/v1/auth/sessions/{session}", Rule::Own(Action::Delete)),
    unrecorded(post("/api/v1/ws-ticket", see(Area::Jobs))),
    get("/api/v1/keys", Rule::Own(Action::Read)),
    post("/api/v1/keys", Rule::Own(Action::Create)),
    delete("/api/v1/keys/{key}", Rule::Own(Action::Delete)),
    get("/api/v1/users", see(Area::Users)),
    post("/api/v1/users", make(Area::Users)),
    get("/api/v1/users/{user}", see(Area::Users)),
    patch("/api/v1/users/{user}", Rule::Area(Action::Change, Area::Users)),
    delete("/api/v1/users/{user}", Rule::Area(Action::Delete, Area::Users)),
    get("/api/v1/users/{user}/keys", see(Area::Users)),
    post("/api/v1/users/{user}/keys", make(Area::Users)),
    delete("/api/v1/users/{user}/keys/{key}", Rule::Area(Action::Delete, Area::Users)),
    get("/api/v1/teams", see(Area::Users)),
    post("/api/v1/teams", make(Area::Users)),
    delete("/api/v1/teams/{team}", Rule::Area(Action::Delete, Area::Users)),
    put("/api/v1/teams/{team}/members/{user}", Rule::Area(Action::Change, Area::Users)),
    delete("/api/v1/teams/{team}/members/{user}", Rule::Area(Action::Change, Area::Users)),
    get("/api/v1/audit", see(Area::Users)),
    // The hub.
    get("/api/v1/system", see(Area::System)),
    get("/api/v1/cluster", see(Area::System)),
    get("/api/v1/presets", see(Area::System)),
    get("/api/v1/system/backup", run(Area::System)),
    get("/api/v1/system/log", see(Area::System)),
    put("/api/v1/system/log", run(Area::System)),
    // It is of everybody's jobs.
    get("/api/v1/system/log/lines", run(Area::System)),
    get("/api/v1/system/scrub", see(Area::System)),
    post("/api/v1/system/scrub", run(Area::System)),
    // Media.
    get("/api/v1/media", see(Area::Media)),
    post("/api/v1/media", make(Area::Media)),
    post("/api/v1/media/import", make(Area::Media)),
    get("/api/v1/media/{media}", look(Kind::Media)),
    delete("/api/v1/media/{media}", remove(Kind::Media)),
    get("/api/v1/media/{media}/content", look(Kind::Media)),
    post("/api/v1/media/{media}/scan", act(Kind::Media)),
    get("/api/v1/media/{media}/proxies", look(Kind::Media)),
    get("/api/v1/media/{media}/proxies/{kind}", look(Kind::Media)),
    post("/api/v1/media/{media}/proxies/{kind}", Rule::Thing(Action::Create, Kind::Media)),
    get("/api/v1/media/{media}/hls/{file}", look(Kind::Media)),
    get("/api/v1/media/{media}/hls/{track}/{file}", look(Kind::Media)),
    get("/api/v1/media/{media}/metadata", look(Kind::Media)),
    post("/api/v1/media/{media}/metadata", Rule::Thing(Action::Create, Kind::Media)),
    get("/api/v1/media/{media}/thumbnail", look(Kind::Media)),
    get("/api/v1/media/{media}/sprites.vtt", look(Kind::Media)),
    get("/api/v1/media/{media}/sprites/{sheet}", look(Kind::Media)),
    get("/api/v1/media/{media}/waveform", look(Kind::Media)),
    get("/api/v1/media/{media}/shares", look(Kind::Media)),
    put("/api/v1/media/{media}/shares", hand(Kind::Media)),
    delete("/api/v1/media/{media}/shares", hand(Kind::Media)),
    options("/api/v1/uploads", Rule::Public),
    post("/api/v1/uploads", make(Area::Media)),
    get("/api/v1/uploads/{upload}", look(Kind::Upload)),
    unrecorded(patch("/api/v1/uploads/{upload}", act(Kind::Upload))),
    // It stands for one of the others.
    post("/api/v1/uploads/{upload}", remove(Kind::Upload)),
    delete("/api/v1/uploads/{upload}", remove(Kind::Upload)),
    // Its handler says in tus' own words that it is not taken.
    unrecorded(put("/api/v1/uploads/{upload}", act(Kind::Upload))),
    // Jobs.
    get("/api/v1/jobs", see(Area::Jobs)),
    post("/api/v1/jobs", make(Area::Jobs)),
    get("/api/v1/jobs/{job}", look(Kind::Job)),
    delete("/api/v1/jobs/{job}", remove(Kind::Job)),
    get("/api/v1/jobs/{job}/tasks", look(Kind::Job)),
    get("/api/v1/jobs/{job}/events", look(Kind::Job)),
    get("/api/v1/jobs/{job}/proof", look(Kind::Job)),
    get("/api/v1/jobs/{job}/output", look(Kind::Job)),
    get("/api/v1/jobs/{job}/objects", look(Kind::Job)),
    get("/api/v1/jobs/{job}/objects.vtt", look(Kind::Job)),
    get("/api/v1/jobs/{job}/hls/{file}", look(Kind::Job)),
    get("/api/v1/jobs/{job}/hls/{track}/{file}", look(Kind::Job)),
    post("/api/v1/jobs/{job}/{verb}", act(Kind::Job)),
    get("/api/v1/jobs/{job}/shares", look(Kind::Job)),
    put("/api/v1/jobs/{job}/shares", hand(Kind::Job)),
    delete("/api/v1/jobs/{job}/shares", hand(Kind::Job)),
    get("/api/v1/live", see(Area::Jobs)),
    // Webhooks.
    get("/api/v1/webhooks", see(Area::Webhooks)),
    post("/api/v1/webhooks", make(Area::Webhooks)),
    get("/api/v1/webhooks/{webhook}", look(Kind::Webhook)),
    delete("/api/v1/webhooks/{webhook}", remove(Kind::Webhook)),
    get("/api/v1/webhooks/{webhook}/deliveries", look(Kind::Webhook)),
    post("/api/v1/webhooks/{webhook}/{verb}", act(Kind::Webhook)),
    post("/api/v1/webhooks/{webhook}/deliveries/{delivery}/replay", act(Kind::Webhook)),
    // Folders.
    get("/api/v1/folders", see(Area::Folders)),
    post("/api/v1/folders", make(Area::Folders)),
    get("/api/v1/folders/{folder}", look(Kind::Folder)),
    delete("/api/v1/folders/{folder}", remove(Kind::Folder)),
    get("/api/v1/folders/{folder}/files", look(Kind::Folder)),
    post("/api/v1/folders/{folder}/{verb}", act(Kind::Folder)),
    // Nodes.
    get("/api/v1/models", see(Area::Nodes)),
    get("/api/v1/nodes", see(Area::Nodes)),
    get("/api/v1/nodes/{node}", see(Area::Nodes)),
    delete("/api/v1/nodes/{node}", run(Area::Nodes)),
    post("/api/v1/nodes/{node}/{verb}", run(Area::Nodes)),
    put("/api/v1/nodes/{node}/log", run(Area::System)),
    get("/api/v1/nodes/connect", Rule::Node),
    get("/api/v1/nodes/hub", Rule::Public),
    // Whoever signs shows by that who it is.
    post("/api/v1/nodes/enroll", Rule::Public),
    post("/api/v1/nodes/challenge", Rule::Public),
    post("/api/v1/nodes/identity", Rule::Public),
    unrecorded(get("/api/v1/node-tokens", run(Area::Nodes))),
    post("/api/v1/node-tokens", run(Area::Nodes)),
    delete("/api/v1/node-tokens/{enrollment}", run(Area::Nodes)),
    // The right to the bytes of one attempt stands in the path, and is looked at as well.
    post("/api/v1/work/{capability}/source", Rule::Node),
    get("/api/v1/work/{capability}/inputs/{position}", Rule::Node),
    put("/api/v1/work/{capability}/result", Rule::Node),
    // What clients of other systems call.
    get("/ws/command", see(Area::Jobs)),
    unrecorded(post("/ws/command", see(Area::Jobs))),
    get("/ws/{client}", see(Area::Jobs)),
    get("/ws/progress", see(Area::Jobs)),
    get("/api/edge/nodes", see(Area::Nodes)),
    post("/api/edge/nodes/register", run(Area::Nodes)),
    unrecorded(post("/api/edge/nodes/{node}/heartbeat", run(Area::Nodes))),
    get("/api/edge/cluster/status", see(Area::System)),
    get("/api/ai/models", see(Area::Nodes)),
    get("/api/ai/stats", see(Area::Nodes)),
    post("/api/ai/inference", make(Area::Jobs)),
    post("/api/video/upload", make(Area::Media)),
    post("/api/video/process", make(Area::Jobs)),
    get("/api/video/tasks/{job}/status", look(Kind::Job)),
    get("/api/video/download/{job}", look(Kind::Job)),
    get("/api/video/gpu/status", see(Area::System)),
    // It brings media and makes a job.
    post("/upload", make(Area::Jobs)),
    get("/internal/video-enhancement-status/{job}", look(Kind::Job)),
    get("/internal/metadata-extraction-status/{job}", look(Kind::Job)),
    get("/processed_videos/{job}", look(Kind::Job)),
    get("/metadata/{job}", look(Kind::Job)),
    post("/api/upload", make(Area::Jobs)),
    get("/api/jobs/{job}/status", look(Kind::Job)),
    get("/api/jobs/{job}/download", look(Kind::Job)),
    get("/api/system-info", see(Area::System)),
    get("/api/health", see(Area::System)),
];

/// What a route asks with a method; `None` when nobody has thought of it. To ask for the head of an answer is to ask for it.
pub(super) fn find(method: &Method, path: &str) -> Option<&'static Entry> {
    let method = if method == Method::HEAD { Method::GET.as_str() } else { method.as_str() };
    ENTRIES.iter().find(|entry| entry.path == path && entry.method == method)
}

/// What paths call a thing.
pub(super) fn parameter(kind: Kind) -> &'static str {
    kind.name()
}
