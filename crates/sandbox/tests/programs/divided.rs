//! A service that was given a branch of control groups, as the tests start it: `divided MEMORY THREADS HELPER ATTACKER WORD…` runs one
//! attack in a group, says what that said, and what the group had to do with its end.
#![allow(missing_docs)]

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use kinora_sandbox::{Branch, Policy, Room};
    let mut words = std::env::args().skip(1);
    let mut next = || words.next().ok_or("a word is missing");
    let (memory, threads) = (next()?.parse()?, next()?.parse()?);
    let (helper, attacker) = (next()?, next()?);
    let branch = Branch::take().map_err(|why| why.to_string())?;
    let group = branch.group(Room { memory: Some(memory), threads })?;
    let folder = group.folder().to_owned();
    let policy = Policy { group: Some(folder.clone()), required: true, ..Policy::default() };
    let mut command = std::process::Command::new(helper);
    let output = command.args(policy.arguments()).arg(attacker).args(words).output()?;
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{} exceeded: {:?}", output.status, group.exceeded());
    drop(group);
    println!("left: {}", folder.exists());
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn main() {}
