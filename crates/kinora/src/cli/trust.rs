//! `kinora trust`: which authority this user believes for a hub that signs for itself.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use kinora_protocol::client::Client;
use kinora_protocol::{ErrorCode, Failure};
use serde_json::json;

use super::remote::HubAddress;
use crate::config::authorities;

/// Flags of `kinora trust`.
#[derive(Debug, Args)]
#[command(
    after_help = "Compare the fingerprint with the one that the hub has printed at its start, on its own machine. Workers need none of \
                  this: their token says by which key the hub is known. KINORA_CA names a file with an authority for all hubs."
)]
pub struct TrustArgs {
    /// Which hub
    #[command(flatten)]
    pub hub: HubAddress,
    /// Believe it without asking if its authority has this fingerprint (SHA-256)
    #[arg(long, value_name = "HEX")]
    pub fingerprint: Option<String>,
    /// Forget what was believed for this hub
    #[arg(long, conflicts_with = "fingerprint")]
    pub forget: bool,
}

fn bad(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadInput, why)
}

/// Hexadecimal digits, however they were written.
fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_uppercase()).collect()
}

fn confirm(hub: &str, shown: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let why = format!(
            "nobody can be asked here: if the hub has printed {shown} at its start, say so by --fingerprint"
        );
        return Err(bad(why));
    }
    eprint!(
        "The hub at {hub} is signed for by an authority with the fingerprint\n  {shown}\nIs it the one that the hub has printed? [y/N] "
    );
    let _ = std::io::stderr().flush();
    let mut said = String::new();
    let _ = std::io::stdin().read_line(&mut said);
    match said.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(ErrorCode::Cancelled, "it is not trusted")),
    }
}

/// Does it.
pub async fn run(args: &TrustArgs) -> Result<(), Failure> {
    let hub = args.hub.hub.trim_end_matches('/');
    if args.forget {
        return match authorities::keep(hub, None)? {
            Some(_) => Ok(()),
            None => Err(bad(format!("nothing was trusted for {hub}"))),
        };
    }
    let client = Client::new(hub)?;
    if !client.is_encrypted() {
        return Err(bad(format!("{hub} is not encrypted: write https://")));
    }
    let authority = client.unbelieving()?.hub_identity("trust").await?.authority;
    if authority.is_empty() {
        let why = "this hub has no authority of its own: the system of this machine has to know whoever signs for it";
        return Err(bad(why));
    }
    let shown =
        kinora_tls::fingerprint(&authority).map_err(|why| bad(format!("the authority of {hub}: {why}")))?;
    match &args.fingerprint {
        Some(wanted) if digits(wanted) == digits(&shown) => {}
        Some(_) => {
            let why = format!("the authority of {hub} has another fingerprint: {shown}");
            return Err(Failure::new(ErrorCode::Untrusted, why));
        }
        None => confirm(hub, &shown)?,
    }
    // What was shown has to be what signs for it.
    client.trust(Some(&authority))?;
    client.hub_identity("trust").await?;
    authorities::keep(hub, Some(authority))?;
    args.hub.show(&json!({ "hub": hub, "fingerprint": shown }), |_| say!("{hub} is trusted by {shown}"));
    Ok(())
}
