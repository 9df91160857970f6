//! Tells the programs which compiler built them: instruction counts depend on it.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").expect("cargo names the compiler");
    let told = Command::new(rustc).arg("--version").output().expect("the compiler runs");
    let version = String::from_utf8(told.stdout).expect("a version is text");
    println!("cargo::rustc-env=POPMAP_RUSTC={}", version.trim());
}
