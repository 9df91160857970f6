//! Does nothing unless the `dpdk` feature is on, so that the workspace builds where DPDK is not installed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_DPDK").is_some() {
        println!(
            "cargo::error=popmap-dpdk-sys has no bindings yet: they land with the packet-IO work, and will need \
             DPDK's headers and libraries (Debian package libdpdk-dev). Build without the `dpdk` feature."
        );
    }
}
