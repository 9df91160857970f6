//! Finds the installed DPDK, compiles the shim, makes the bindings and tells rustc what to link.
//!
//! Knows what popmap uses of DPDK, and which package brings what is missing. Must not know what it is used for.

use std::env;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first release with the names used here (`RTE_MBUF_F_*`, `rxmode.mtu`).
const VERSION_MIN: &str = "21.11";

/// What is linked: only where our symbols are. Drivers other than these two are shared objects that EAL finds by itself.
///
/// pkg-config names neither of the two drivers, and as shared objects EAL would open them too: it is the same file.
const LIBRARIES: [&str; 7] =
    ["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_ring", "rte_eal", "rte_bus_vdev", "rte_net_ring"];

const FUNCTIONS: [&str; 9] = [
    "popmap_.*",
    "rte_eal_(init|cleanup|get_runtime_dir|hotplug_add|hotplug_remove)",
    "rte_strerror",
    "rte_thread_(un)?register",
    "rte_eth_dev_(configure|start|stop|close|info_get|get_port_by_name|adjust_nb_rx_tx_desc|is_valid_port|is_removed)",
    "rte_eth_dev_(default_mac_addr_set|set_mc_addr_list|set_link_up|set_link_down|socket_id)",
    "rte_eth_((rx|tx)_queue_setup|macaddr_get|promiscuous_enable|allmulticast_enable|link_get_nowait|stats_get)",
    "rte_pktmbuf_(pool_create|free_bulk)|rte_mempool_(avail|in_use)_count|rte_ring_create|rte_eth_from_rings",
    "rte_version",
];

const TYPES: [&str; 6] =
    ["rte_mbuf", "rte_eth_conf", "rte_eth_dev_info", "rte_eth_link", "rte_eth_stats", "rte_ether_addr"];

const CONSTANTS: [&str; 2] =
    ["POPMAP_.*", "RTE_(PKTMBUF_HEADROOM|MAX_ETHPORTS|MBUF_PRIV_ALIGN|ETH_NAME_MAX_LEN)"];

/// Makes everything.
///
/// # Errors
/// What is missing, for a sentence.
pub fn make() -> Result<(), String> {
    for input in ["build/bindings.rs", "src/shim.c", "src/shim.h"] {
        println!("cargo::rerun-if-changed={input}");
    }
    for variable in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "LIBCLANG_PATH", "CC"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    pkg_config(&[&format!("--atleast-version={VERSION_MIN}")])?;
    // Unchanged to both compilers: it holds a forced include and the instruction set that inline code is written for.
    let flags = pkg_config(&["--cflags"])?;
    shim(&flags)?;
    bindings(&flags)?;
    for directory in pkg_config(&["--libs-only-L"])? {
        if let Some(directory) = directory.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={directory}");
        }
    }
    for library in LIBRARIES {
        println!("cargo::rustc-link-lib=dylib={library}");
    }
    Ok(())
}

/// Asks pkg-config about DPDK; returns the words of its answer.
fn pkg_config(arguments: &[&str]) -> Result<Vec<String>, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let output = Command::new(&program)
        .args(arguments)
        .arg("libdpdk")
        .output()
        .map_err(|error| format!("{program} does not run: {error} (package pkg-config)"))?;
    if !output.status.success() {
        return Err(format!("no libdpdk of version {VERSION_MIN} or later (package libdpdk-dev)"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

/// Compiles the functions that DPDK has in its headers only.
fn shim(flags: &[String]) -> Result<(), String> {
    let mut build = cc::Build::new();
    build.file("src/shim.c").include("src").opt_level(3).warnings(true);
    for flag in flags {
        build.flag(flag);
    }
    build
        .try_compile("popmap_dpdk_shim")
        .map_err(|error| format!("the C shim does not compile: {error} (package gcc)"))
}

fn bindings(flags: &[String]) -> Result<(), String> {
    let mut builder = bindgen::Builder::default()
        .header("src/shim.h")
        .use_core()
        .clang_args(flags)
        .prepend_enum_name(false)
        .generate_comments(false)
        .derive_debug(false)
        .derive_default(true)
        .layout_tests(true)
        .rust_edition(bindgen::RustEdition::Edition2024);
    builder = FUNCTIONS.iter().fold(builder, bindgen::Builder::allowlist_function);
    builder = TYPES.iter().fold(builder, bindgen::Builder::allowlist_type);
    builder = CONSTANTS.iter().fold(builder, bindgen::Builder::allowlist_var);
    // Without libclang bindgen panics.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let generated = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(hook);
    let bindings = match generated {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => {
            return Err(format!(
                "bindgen: {error} (headers missing: packages libdpdk-dev, libclang-common-14-dev)"
            ));
        }
        Err(_) => return Err("bindgen finds no libclang (package libclang1-14)".to_owned()),
    };
    let directory: PathBuf = env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?.into();
    let path: &Path = &directory.join("bindings.rs");
    bindings.write_to_file(path).map_err(|error| format!("writing {}: {error}", path.display()))
}
