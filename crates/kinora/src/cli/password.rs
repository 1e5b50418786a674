//! Passwords that people type: never as an argument, which everybody on the machine can read, nor in the environment.

use std::io::{IsTerminal as _, Read as _};

use clap::Args;
use kinora_protocol::{ErrorCode, Failure};

/// Where the password comes from.
#[derive(Debug, Args)]
pub struct PasswordSource {
    /// Read the password from standard input, in place of asking for it
    #[arg(long)]
    pub password_stdin: bool,
}

fn bad(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::BadInput, why)
}

impl PasswordSource {
    /// One that is there already.
    pub fn ask(&self, what: &str) -> Result<String, Failure> {
        if self.password_stdin {
            return from_stdin();
        }
        typed(what)
    }

    /// A new one, which is typed twice.
    pub fn ask_new(&self, what: &str) -> Result<String, Failure> {
        if self.password_stdin {
            return from_stdin();
        }
        let first = typed(what)?;
        if first != typed("The same again")? {
            return Err(bad("the two are not the same: try again"));
        }
        Ok(first)
    }
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|e| bad(format!("standard input holds no password: {e}")))?;
    let password = text.trim_end_matches(['\n', '\r']).to_owned();
    if password.is_empty() { Err(bad("standard input holds no password")) } else { Ok(password) }
}

fn typed(what: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(bad("there is no terminal to ask for the password: use --password-stdin"));
    }
    rpassword::prompt_password(format!("{what}: ")).map_err(|e| bad(format!("no password was typed: {e}")))
}
