//! Bindings to DPDK, made by bindgen at build time from the installed headers.
//!
//! Knows names and layouts. Must not know what is done with them: `popmap_io::dpdk` is the safe layer.
//!
//! Without the `dpdk` feature this crate has no items and needs nothing installed. With it the build needs the Debian
//! packages `libdpdk-dev`, `libclang1-14` and `libclang-common-14-dev`, and says so when they are missing.
//!
//! DPDK is linked as shared objects; its drivers are opened by EAL from the directory that the distribution has for
//! them.

#![no_std]

#[cfg(feature = "dpdk")]
mod bindings {
    #![allow(
        missing_docs,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unreachable_pub,
        unused_qualifications,
        unsafe_op_in_unsafe_fn,
        clippy::all,
        clippy::pedantic,
        clippy::undocumented_unsafe_blocks,
        clippy::multiple_unsafe_ops_per_block,
        clippy::allow_attributes_without_reason,
        reason = "made by bindgen, names as in C"
    )]

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

#[cfg(feature = "dpdk")]
pub use bindings::*;

// The packet path reads and writes these fields: shim.c says the same of them.
#[cfg(feature = "dpdk")]
const _: () = {
    assert!(size_of::<rte_mbuf>() == 128 && align_of::<rte_mbuf>() == 64);
    assert!(core::mem::offset_of!(rte_mbuf, data_off) == 16);
};
