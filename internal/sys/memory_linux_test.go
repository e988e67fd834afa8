package sys

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// reserve reserves n bytes for one test.
func reserve(t *testing.T, n uintptr) uintptr {
	t.Helper()
	addr, err := Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Unmap(addr, n); err != nil {
			t.Error(err)
		}
	})
	return addr
}

func view(addr, n uintptr) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), n)
}

func TestDiscardedPagesReadZero(t *testing.T) {
	addr := reserve(t, mib)
	b := view(addr, mib)
	b[0], b[mib-1] = 1, 2
	if err := Discard(addr, mib); err != nil {
		t.Fatal(err)
	}
	if b[0] != 0 || b[mib-1] != 0 {
		t.Error("bytes survive Discard")
	}
}

// Without MAP_NORESERVE the kernel's overcommit heuristic would refuse 64 times the machine's
// memory.
func TestReserveCommitsNothing(t *testing.T) {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || strings.TrimSpace(string(mode)) == "2" {
		t.Skip("strict overcommit accounting ignores MAP_NORESERVE")
	}
	total, free, err := RAM()
	if err != nil || free == 0 || free > total {
		t.Fatalf("RAM: %d of %d bytes free, %v", free, total, err)
	}
	reserve(t, uintptr(64*total+mib-1)&^(mib-1))
}

func TestReserveRefusesWhatCannotFit(t *testing.T) {
	if _, err := Reserve(1 << 62); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("got %v, want ENOMEM", err)
	}
}

func TestResidentMemoryFollowsPopulateAndDiscard(t *testing.T) {
	const n = 64 * mib
	addr := reserve(t, n)
	before := rss(t)
	if err := Populate(addr, n); errors.Is(err, unix.EINVAL) {
		t.Skip("Linux before 5.14: ", err)
	} else if err != nil {
		t.Fatal(err)
	}
	full := rss(t)
	if err := Discard(addr, n); err != nil {
		t.Fatal(err)
	}
	// The Go heap changes as well, but by much less.
	if after := rss(t); full < before+n*3/4 || after > full-n*3/4 {
		t.Errorf("resident: %d MiB, populated %d, discarded %d", before/mib, full/mib, after/mib)
	}
}

func rss(t *testing.T) uint64 {
	n, err := ReadRSS()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The Go runtime may map the addresses before the test looks, but not each time.
func TestUnmapFreesTheAddresses(t *testing.T) {
	var flags string
	for range 5 {
		addr, err := Reserve(mib)
		if err != nil {
			t.Fatal(err)
		}
		if err := Unmap(addr, mib); err != nil {
			t.Fatal(err)
		}
		if flags = vmFlags(t, addr); flags == "" {
			return
		}
	}
	t.Errorf("still mapped: %s", flags)
}

func TestAdviceAndLockReachTheKernel(t *testing.T) {
	addr := reserve(t, 4*mib)
	for _, step := range []struct {
		name string
		do   func() error
		flag string // of the mapping in smaps
	}{
		{name: "huge pages on", do: func() error { return AdviseHuge(addr, 4*mib, true) }, flag: "hg"},
		{name: "huge pages off", do: func() error { return AdviseHuge(addr, 4*mib, false) }, flag: "nh"},
		{name: "lock", do: func() error { return Lock(addr, 4*mib) }, flag: "lo"},
	} {
		t.Run(step.name, func(t *testing.T) {
			switch err := step.do(); {
			case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOMEM):
				t.Skip("this kernel or limit refuses: ", err)
			case err != nil:
				t.Fatal(err)
			}
			if flags := vmFlags(t, addr); !strings.Contains(flags, " "+step.flag+" ") {
				t.Errorf("flags %q lack %s", flags, step.flag)
			}
		})
	}
}

// Locked pages are discarded where the kernel can do that, and refused by others. They stay locked
// until they are unlocked.
func TestUnlock(t *testing.T) {
	addr := reserve(t, mib)
	if err := Lock(addr, mib); err != nil {
		t.Skip("this limit refuses: ", err)
	}
	b := view(addr, mib)
	b[0] = 1
	if err := Discard(addr, mib); err != nil && !errors.Is(err, unix.EINVAL) || (err == nil) != (b[0] == 0) {
		t.Errorf("Discard of locked pages: %v, the first byte is %d", err, b[0])
	}
	if flags := vmFlags(t, addr); !strings.Contains(flags, " lo ") {
		t.Errorf("flags %q lack lo", flags)
	}
	b[0] = 1
	for range 2 {
		if err := Unlock(addr, mib); err != nil {
			t.Fatal(err)
		}
	}
	if err := Discard(addr, mib); err != nil || b[0] != 0 {
		t.Errorf("%v, the first byte is %d", err, b[0])
	}
}

// madvise is asked again after EINTR and EAGAIN, but not for ever, and after no other error.
func TestMadviseTriesAgain(t *testing.T) {
	addr := reserve(t, mib)
	for _, errno := range []unix.Errno{unix.EINTR, unix.EAGAIN} {
		restore := FailNth(CallDiscard, 1, errno)
		err := Discard(addr, mib)
		restore()
		if err != nil {
			t.Errorf("one %v: %v", errno, err)
		}
		restore = FailNth(CallDiscard, 0, errno)
		err = Discard(addr, mib)
		restore()
		if !errors.Is(err, errno) {
			t.Errorf("%v each time: %v", errno, err)
		}
	}
	restore := FailNth(CallDiscard, 1, unix.ENOMEM)
	err := Discard(addr, mib)
	restore()
	if !errors.Is(err, unix.ENOMEM) {
		t.Errorf("ENOMEM: %v", err)
	}
}

// Memory becomes writable where Protect says so and keeps its contents. New memory takes its place
// by Replace.
func TestProtectAndReplace(t *testing.T) {
	addr, err := ReserveAs(4*mib, NoAccess)
	if err != nil {
		t.Fatal(err)
	}
	defer Unmap(addr, 4*mib)
	if err := Protect(addr, mib, ReadWrite); err != nil {
		t.Fatal(err)
	}
	b := view(addr, mib)
	b[mib-1] = 1
	if flags := vmFlags(t, addr); !strings.Contains(flags, " rd wr ") {
		t.Errorf("flags of the writable part: %q", flags)
	}
	if flags := vmFlags(t, addr+mib); strings.Contains(flags, "rd") || strings.Contains(flags, "wr") {
		t.Errorf("flags of the rest: %q", flags)
	}
	if err := Protect(addr, mib, ReadOnly); err != nil || b[mib-1] != 1 {
		t.Errorf("%v, the last byte is %d", err, b[mib-1])
	}
	if err := Lock(addr, mib); err == nil {
		defer Unlock(addr, mib)
	}
	if err := Replace(addr, 2*mib, ReadOnly); err != nil {
		t.Fatal(err)
	}
	if b := view(addr, 2*mib); b[mib-1] != 0 || b[2*mib-1] != 0 {
		t.Error("new memory isn't zero")
	}
	if flags := vmFlags(t, addr+mib); !strings.Contains(flags, " rd ") || strings.Contains(flags, " wr ") {
		t.Errorf("flags of new memory: %q", flags)
	}
}

// What is reserved is not part of a core dump where DumpCore says so.
func TestDumpCore(t *testing.T) {
	addr := reserve(t, mib)
	for _, on := range []bool{false, true} {
		if err := DumpCore(addr, mib, on); err != nil {
			t.Fatal(err)
		}
		if flags := vmFlags(t, addr); strings.Contains(flags, " dd ") == on {
			t.Errorf("dump %v: flags are %q", on, flags)
		}
	}
}

// A name shows in /proc/self/maps, if the kernel has such names.
func TestSetName(t *testing.T) {
	addr := reserve(t, mib)
	name := Name("slubd: a\\[b]$`\n" + strings.Repeat("x", 100))
	if want := "slubd: ab" + strings.Repeat("x", 70); name != want {
		t.Errorf("name %q, want %q", name, want)
	}
	err := SetName(addr, mib, name)
	if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: without CONFIG_ANON_VMA_NAME
		t.Fatal(err)
	}
	maps, readErr := os.ReadFile("/proc/self/maps")
	if shown := bytes.Contains(maps, []byte("[anon:"+name+"]")); readErr != nil || shown != (err == nil) {
		t.Errorf("SetName: %v, the name is shown: %v, %v, maps are\n%s", err, shown, readErr, maps)
	}
}

// vmFlags returns the VmFlags line of the mapping that contains addr, "" when there is none.
func vmFlags(t *testing.T, addr uintptr) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	var inside bool
	for line := range bytes.Lines(text) {
		var low, high uintptr
		if n, _ := fmt.Sscanf(string(line), "%x-%x", &low, &high); n == 2 {
			inside = low <= addr && addr < high
		}
		if flags, ok := bytes.CutPrefix(line, []byte("VmFlags:")); ok && inside {
			return string(bytes.ReplaceAll(flags, []byte("\n"), []byte(" ")))
		}
	}
	return ""
}
