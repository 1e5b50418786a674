//! The helper, as the tests start it.

fn main() {
    std::process::exit(i32::from(kinora_sandbox::run(std::env::args_os().skip(1))));
}
