//! Makes the bindings when the `dpdk` feature is on. Without it does nothing, so that the workspace builds where DPDK is
//! not installed.

#[cfg(feature = "dpdk")]
#[path = "build/bindings.rs"]
mod bindings;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "dpdk")]
    if let Err(missing) = bindings::make() {
        // Cargo takes one line, and compilers have more to say.
        let missing = missing.split_whitespace().collect::<Vec<_>>().join(" ");
        println!(
            "cargo::error={missing}. The `dpdk` feature needs DPDK and, while building, libclang: \
             apt-get install --no-install-recommends libdpdk-dev libclang1-14 libclang-common-14-dev gcc pkg-config"
        );
    }
}
