//! EAL, DPDK's environment abstraction layer: started once per process, from a configuration.
//!
//! Knows memory, devices by name, and who holds which port. Must not know frames.

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char, c_int};
use std::fs;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use popmap_dpdk_sys as sys;
use rustix::thread::{CpuSet, sched_getaffinity};

use super::error::DpdkError;
use super::{log, thread};

/// Where the kernel lists PCI devices.
const PCI_DEVICES: &str = "/sys/bus/pci/devices";

static STARTED: AtomicBool = AtomicBool::new(false);

/// What EAL is started with.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// Uses huge pages, which network cards need. Without them memory is ordinary and no device can reach it; enough for
    /// virtual devices. Default: yes.
    pub huge_pages: bool,
    /// MiB of memory taken at the start. 8,191 mbufs for the default payload need 20, or 40 without huge pages, where no
    /// mbuf shares a page with another. With huge pages DPDK takes more when it is needed, and 0 takes none at the start;
    /// without them this is all. Default: 64.
    pub memory_mib: u32,
    /// PCI addresses of the network cards that DPDK may use, as in `0000:3b:00.0`, each with arguments for its driver
    /// behind a comma if there are any. Others are left alone. Default: none.
    pub pci: Vec<String>,
    /// Virtual devices that are there from the start, as in `net_af_packet0,iface=eth1`. One that is given to
    /// [`DpdkDevice::open`](super::DpdkDevice::open) needs not be here. Default: none.
    pub vdevs: Vec<String>,
    /// The name of a directory that DPDK makes in `/var/run/dpdk`, or under `RUNTIME_DIRECTORY` or `XDG_RUNTIME_DIR`. It
    /// stays empty and is removed at once, so processes may share it. Default: `popmap`.
    pub file_prefix: Option<String>,
    /// Further arguments, as the DPDK documentation lists them. Default: none.
    pub arguments: Vec<String>,
    /// Is told what DPDK logs, a line at a time, from any thread; the last lines are kept for errors in any case, and
    /// nothing is written to standard error or syslog. Default: nobody.
    pub listener: Option<fn(&str)>,
}

impl EalConfig {
    /// Returns the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            huge_pages: true,
            memory_mib: 64,
            pci: Vec::new(),
            vdevs: Vec::new(),
            file_prefix: None,
            arguments: Vec::new(),
            listener: None,
        }
    }

    /// Returns what needs neither huge pages nor hardware, with this much memory.
    #[must_use]
    pub fn without_huge_pages(memory_mib: u32) -> Self {
        Self { huge_pages: false, memory_mib, ..Self::new() }
    }

    fn check(&self) -> Result<(), DpdkError> {
        for device in &self.pci {
            let address = name_of(device)?;
            if !is_pci_address(address) {
                return Err(DpdkError::PciAddress(address.to_owned()));
            }
            if !Path::new(PCI_DEVICES).join(address).exists() {
                return Err(DpdkError::NoPciDevice(address.to_owned()));
            }
        }
        self.vdevs.iter().try_for_each(|device| name_of(device).map(drop))
    }

    /// Returns the command line. `processors` are those that this thread may run on.
    fn command_line(&self, processors: &str) -> Vec<String> {
        let prefix = self.file_prefix.as_deref().unwrap_or("popmap");
        let mut line = vec![
            "popmap".to_owned(),
            // One, for the calling thread, which stays where it may run now: EAL would pin it, and every thread that it
            // starts from then on.
            format!("--lcores=0@({processors})"),
            format!("--file-prefix={prefix}"),
            "--no-telemetry".to_owned(),
        ];
        if self.memory_mib > 0 {
            line.extend(["-m".to_owned(), self.memory_mib.to_string()]);
        }
        // No files that outlive the process and no other processes that join, either way.
        let own: &[&str] = if self.huge_pages { &["--in-memory"] } else { &["--no-huge", "--no-shconf"] };
        line.extend(own.iter().map(|&word| word.to_owned()));
        if self.pci.is_empty() {
            line.push("--no-pci".to_owned());
        }
        for device in &self.pci {
            line.extend(["-a".to_owned(), device.clone()]);
        }
        line.extend(self.arguments.iter().cloned());
        line
    }
}

impl Default for EalConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// EAL at work. Clones are the same one; when the last of them and everything made with it is gone, EAL is cleaned up,
/// unless there was a `net_memif` port, whose driver does not let go of it. It cannot be started again.
#[derive(Clone, Debug)]
pub struct Eal(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    /// Held while devices come and go: DPDK expects one thread at that. In it, the ports in use.
    control: Mutex<HashSet<u16>>,
    /// Numbers for the names of pools and rings.
    names: AtomicU32,
    /// Addresses of the PCI devices that it was started for.
    pci: Vec<String>,
    /// Stays as it is until the process ends: see [`Eal::keep`].
    is_kept: AtomicBool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if *self.is_kept.get_mut() {
            return;
        }
        // SAFETY: EAL was started. Ports, pools and batches hold it, so none is left, and no pointer into its memory.
        // Its errors are those of an end that comes anyway.
        let _ = unsafe { sys::rte_eal_cleanup() };
    }
}

impl Eal {
    /// Starts EAL, which takes 0.1 to 0.3 s.
    ///
    /// The calling thread keeps its processors, and threads are not made but for DPDK's own interrupt thread.
    ///
    /// # Errors
    /// Why not. After [`DpdkError::PciAddress`], [`DpdkError::NoPciDevice`] and [`DpdkError::DeviceName`] it can be tried
    /// again; after any other error this process has no DPDK any more.
    pub fn start(config: &EalConfig) -> Result<Self, DpdkError> {
        config.check()?;
        let allowed = sched_getaffinity(None)
            .map_err(|errno| DpdkError::System { step: "asking for the processors", source: errno.into() })?;
        let line = config.command_line(&processors(&allowed));
        let line: Vec<CString> = line.iter().map(|word| c_string(word)).collect::<Result<_, _>>()?;
        if STARTED.swap(true, Ordering::Relaxed) {
            return Err(DpdkError::Started);
        }
        let mark = log::mark();
        log::install(config.listener);
        // EAL keeps pointers to its arguments and changes their order.
        let mut line: Vec<*mut c_char> = line.into_iter().map(CString::into_raw).collect();
        let count = c_int::try_from(line.len()).unwrap_or(c_int::MAX);
        line.push(ptr::null_mut());
        let line: &'static mut [*mut c_char] = line.leak();
        // SAFETY: `count` strings and a null pointer, none of which is ever freed or used otherwise; called once.
        let parsed = unsafe { sys::rte_eal_init(count, line.as_mut_ptr()) };
        let failed = (parsed < 0).then(|| refused("starting EAL", errno(), mark));
        remove_runtime_directory();
        if let Some(error) = failed {
            return Err(error);
        }
        let pci = config.pci.iter().filter_map(|device| name_of(device).ok()).map(str::to_owned).collect();
        let inner = Inner {
            control: Mutex::default(),
            names: AtomicU32::new(0),
            pci,
            is_kept: AtomicBool::new(false),
        };
        let eal = Self(Arc::new(inner));
        config.vdevs.iter().try_for_each(|device| eal.attach(&eal.control(), device))?;
        Ok(eal)
    }

    /// Returns DPDK's version, as in `DPDK 22.11.11`.
    #[must_use]
    pub fn version(&self) -> String {
        // SAFETY: takes nothing.
        let version = unsafe { sys::rte_version() };
        // SAFETY: a string that lives as long as the process.
        unsafe { text(version) }
    }

    /// Returns the last lines that DPDK logged, at most 64.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        log::all()
    }

    /// Makes the calling thread known to DPDK until it ends, if it is not yet, so that mbufs cost it less. Devices, ports
    /// and pools do so by themselves. Returns whether it is known: the number of such threads is limited.
    pub fn register_thread(&self) -> bool {
        thread::register(self);
        thread::is_registered()
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    /// Returns what is held while devices come and go: the ports in use.
    pub(super) fn control(&self) -> MutexGuard<'_, HashSet<u16>> {
        // Whole between any two statements that can panic: allocation alone.
        self.0.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has EAL, its memory above all, stay until the process ends: a driver has left something with DPDK's own thread, for
    /// good. That thread runs on when EAL is cleaned up, and looks at it where there is no memory any more.
    pub(super) fn keep(&self) {
        self.0.is_kept.store(true, Ordering::Relaxed);
    }

    /// Returns a name that no other object of this process has.
    pub(super) fn name(&self, kind: &str) -> String {
        format!("popmap_{kind}_{}", self.0.names.fetch_add(1, Ordering::Relaxed))
    }

    /// Has DPDK take a device, from its name and arguments, while devices are [held](Self::control).
    pub(super) fn attach(&self, _held: &MutexGuard<'_, HashSet<u16>>, device: &str) -> Result<(), DpdkError> {
        let name = name_of(device)?;
        let bus = bus_of(name);
        if bus == c"pci" && !self.0.pci.iter().any(|listed| listed == name) {
            return Err(DpdkError::PciNotListed(name.to_owned()));
        }
        let arguments = device.split_once(',').map_or("", |(_, arguments)| arguments);
        let (c_name, arguments) = (c_string(name)?, c_string(arguments)?);
        let mark = log::mark();
        // SAFETY: EAL runs; three strings that outlive the call; nobody else attaches or detaches meanwhile.
        let failed = unsafe { sys::rte_eal_hotplug_add(bus.as_ptr(), c_name.as_ptr(), arguments.as_ptr()) };
        if failed < 0 {
            return Err(refused(&format!("attaching {device}"), -failed, mark));
        }
        Ok(())
    }

    /// Has DPDK give a device back, while devices are [held](Self::control). Returns whether it did.
    pub(super) fn detach(&self, _held: &MutexGuard<'_, HashSet<u16>>, name: &CStr) -> bool {
        let bus = bus_of(name.to_str().unwrap_or_default());
        // SAFETY: EAL runs; two strings that outlive the call; nobody else attaches or detaches meanwhile, and whoever
        // used the device has stopped.
        unsafe { sys::rte_eal_hotplug_remove(bus.as_ptr(), name.as_ptr()) == 0 }
    }
}

/// Removes the directory that EAL makes for files that it does not make, for want of other processes to share them with.
fn remove_runtime_directory() {
    // SAFETY: takes nothing.
    let directory = unsafe { sys::rte_eal_get_runtime_dir() };
    // SAFETY: a string that lives as long as the process, and was made by the start.
    let directory = unsafe { text(directory) };
    if !directory.is_empty() {
        // Not when there is something in it; and the one around it, which DPDK makes too, when it was the last.
        let _ = fs::remove_dir(&directory);
        let _ = Path::new(&*directory).parent().map(fs::remove_dir);
    }
}

/// Returns the bus that a device of this name is on.
fn bus_of(name: &str) -> &'static CStr {
    if is_pci_address(name) { c"pci" } else { c"vdev" }
}

/// Returns a device's name, without its arguments.
pub(super) fn name_of(device: &str) -> Result<&str, DpdkError> {
    let name = device.split(',').next().unwrap_or_default();
    let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    if named && !device.contains('\0') { Ok(name) } else { Err(DpdkError::DeviceName(device.to_owned())) }
}

/// Returns the kernel's driver for a PCI device, if it has one.
pub(super) fn kernel_driver(name: &str) -> Option<String> {
    let link = fs::read_link(Path::new(PCI_DEVICES).join(name).join("driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Whether this is domain, bus, device and function, as the kernel writes them.
fn is_pci_address(text: &str) -> bool {
    let hex = |part: &str, len: std::ops::RangeInclusive<usize>| {
        len.contains(&part.len()) && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let Some((domain, rest)) = text.split_once(':') else { return false };
    let Some((bus, rest)) = rest.split_once(':') else { return false };
    let Some((device, function)) = rest.split_once('.') else { return false };
    hex(domain, 4..=8)
        && hex(bus, 2..=2)
        && hex(device, 2..=2)
        && matches!(function.as_bytes(), [b'0'..=b'7'])
}

/// Returns a set of processors as EAL reads it.
fn processors(set: &CpuSet) -> String {
    let numbers = (0..CpuSet::MAX_CPU).filter(|&number| set.is_set(number));
    numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

pub(super) fn c_string(text: &str) -> Result<CString, DpdkError> {
    CString::new(text).map_err(|_| DpdkError::DeviceName(text.to_owned()))
}

/// Copies a string of C's; a null pointer is none.
///
/// # Safety
/// Any other is a string that nobody changes during the call.
pub(super) unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// Returns this thread's error number.
pub(super) fn errno() -> i32 {
    // SAFETY: reads a variable of this thread.
    unsafe { sys::popmap_errno() }
}

/// Returns the error for a step that DPDK refused, with what it said since `mark`.
pub(super) fn refused(step: &str, errno: i32, mark: usize) -> DpdkError {
    // SAFETY: takes any number.
    let meaning = unsafe { sys::rte_strerror(errno) };
    // SAFETY: a string of this thread's, which the next call changes.
    let text = unsafe { text(meaning) };
    DpdkError::Refused { step: step.to_owned(), errno, text, said: log::since(mark) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_what_the_kernel_writes() {
        for good in ["0000:3b:00.0", "ffff:ff:1f.7", "10000:01:00.0"] {
            assert!(is_pci_address(good), "{good}");
        }
        for bad in ["", "3b:00.0", "0000:3b:00", "0000:3b:00.8", "0000:3B:00.0", "000:3b:00.0", "0000:3b:0.0"]
        {
            assert!(!is_pci_address(bad), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_found_before_eal_is_started() {
        let with = |change: fn(&mut EalConfig)| {
            let mut config = EalConfig::new();
            change(&mut config);
            Eal::start(&config).unwrap_err().to_string()
        };
        let said = with(|config| config.pci.push("eth0".to_owned()));
        assert!(said.starts_with("pci: \"eth0\" is no PCI address; it must be like 0000:3b:00.0"), "{said}");
        let said = with(|config| config.pci.push("ffff:ff:1f.7,arg=1".to_owned()));
        assert!(said.starts_with("pci: there is no device at ffff:ff:1f.7"), "{said}");
        let said = with(|config| config.vdevs.push(",iface=eth0".to_owned()));
        assert!(said.starts_with("device: \",iface=eth0\"; it must be"), "{said}");
        assert!(!STARTED.load(Ordering::Relaxed));
    }

    #[test]
    fn the_command_line_says_what_was_configured() {
        let mut config = EalConfig::without_huge_pages(32);
        config.file_prefix = Some("mine".to_owned());
        config.arguments = vec!["--log-level=5".to_owned()];
        let line = config.command_line("0,3").join(" ");
        assert_eq!(
            line,
            "popmap --lcores=0@(0,3) --file-prefix=mine --no-telemetry -m 32 --no-huge --no-shconf --no-pci \
             --log-level=5"
        );
        config.huge_pages = true;
        config.memory_mib = 0;
        config.pci = vec!["0000:3b:00.0,a=1".to_owned()];
        let line = config.command_line("0").join(" ");
        assert!(line.contains("--no-telemetry --in-memory -a 0000:3b:00.0,a=1 --log"), "{line}");
        assert!(!line.contains("--no-pci") && !line.contains("-m "), "{line}");
    }

    #[test]
    fn processors_are_listed() {
        let mut set = CpuSet::new();
        [1, 7, 130].into_iter().for_each(|number| set.set(number));
        assert_eq!(processors(&set), "1,7,130");
    }
}
