package testutil

import (
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// NeedWatch skips the test where Watch counts nothing, whatever SLUBD_REQUIRE says: no package
// gives debug registers that a virtual machine takes and ignores. store stores to the eight bytes
// at addr.
func NeedWatch(t testing.TB, addr uintptr, store func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	stores, end := watch(t, addr)
	defer end() // the test may want all four registers
	for range maxStores {
		if store(); stores() > 0 {
			return
		}
	}
	t.Skip("needs debug registers: those of this virtual machine count no store")
}

// maxStores is how many stores in a row NeedWatch makes: a busy virtual machine may lose the debug
// exception of some.
const maxStores = 1000

// Watch counts the stores of the calling thread, which the caller has locked, to the eight bytes at
// an address, until the test ends. Those of the kernel don't count. The processor does it, with one
// of its four debug registers (perf_event_open(2), PERF_TYPE_BREAKPOINT). Where the kernel refuses
// that, the test is skipped, as by NeedHost.
func Watch(t testing.TB, addr uintptr) (stores func() uint64) {
	t.Helper()
	stores, end := watch(t, addr)
	t.Cleanup(end)
	return stores
}

// watch is Watch until end is called.
func watch(t testing.TB, addr uintptr) (stores func() uint64, end func()) {
	t.Helper()
	const (
		write = 2           // HW_BREAKPOINT_W of <linux/hw_breakpoint.h>
		user  = 1<<5 | 1<<6 // exclude_kernel, exclude_hv
	)
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{Type: unix.PERF_TYPE_BREAKPOINT, Size: unix.PERF_ATTR_SIZE_VER7,
		Sample: 1, Bits: user, Bp_type: write, Ext1: uint64(addr), Ext2: 8}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	NeedHost(t, "perf_event_open(2) with breakpoints", "linux-image-amd64", err)
	stores = func() uint64 {
		var count [8]byte
		if _, err := unix.Read(fd, count[:]); err != nil {
			t.Fatal(err)
		}
		return binary.NativeEndian.Uint64(count[:])
	}
	return stores, func() { _ = unix.Close(fd) }
}

// maxTraps is how many processes of WatchingChild in a row may be ended by a trap.
const maxTraps = 10

// WatchingChild is Child for a test that uses Watch. On a busy virtual machine a debug exception
// may come without the status that says which register it is of; then the kernel ends the process
// by SIGTRAP. Such a process is started again.
func WatchingChild(t testing.TB, env ...string) bool {
	t.Helper()
	for traps := 0; ; traps++ {
		out, isChild, err := Rerun(t, env...)
		if isChild || err == nil || !strings.Contains(out, "SIGTRAP: trace trap") || traps == maxTraps {
			return isChild || judge(t, out, err)
		}
	}
}
