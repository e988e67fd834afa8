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

// room reserves n bytes for one test.
func room(t *testing.T, n uintptr) uintptr {
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
	addr := room(t, mib)
	b := view(addr, mib)
	b[0], b[mib-1] = 1, 2
	if err := Discard(addr, mib); err != nil {
		t.Fatal(err)
	}
	if b[0] != 0 || b[mib-1] != 0 {
		t.Error("bytes survive Discard")
	}
}

// Without MAP_NORESERVE the kernel's overcommit heuristic refuses far more
// than the machine has.
func TestReserveCommitsNothing(t *testing.T) {
	mode, err := os.ReadFile("/proc/sys/vm/overcommit_memory")
	if err != nil || strings.TrimSpace(string(mode)) == "2" {
		t.Skip("strict overcommit accounting ignores MAP_NORESERVE")
	}
	total, free, err := RAM()
	if err != nil || free == 0 || free > total {
		t.Fatalf("RAM: %d of %d bytes free, %v", free, total, err)
	}
	room(t, uintptr(64*total+mib-1)&^(mib-1))
}

func TestReserveRefusesWhatCannotFit(t *testing.T) {
	if _, err := Reserve(1 << 62); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("got %v, want ENOMEM", err)
	}
}

func TestResidentMemoryFollowsPopulateAndDiscard(t *testing.T) {
	const n = 64 * mib
	addr := room(t, n)
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
	// The Go heap moves too, but not by this much.
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

// The Go runtime may take the addresses before the test looks, but not each time.
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
	addr := room(t, 4*mib)
	for _, step := range []struct {
		name string
		do   func() error
		flag string // of the mapping in smaps
	}{
		{"huge pages on", func() error { return AdviseHuge(addr, 4*mib, true) }, "hg"},
		{"huge pages off", func() error { return AdviseHuge(addr, 4*mib, false) }, "nh"},
		{"lock", func() error { return Lock(addr, 4*mib) }, "lo"},
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

// What is unlocked can be discarded again.
func TestUnlock(t *testing.T) {
	addr := room(t, mib)
	if err := Lock(addr, mib); err != nil {
		t.Skip("this limit refuses: ", err)
	}
	if err := Discard(addr, mib); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Discard of locked pages: %v", err)
	}
	for range 2 {
		if err := Unlock(addr, mib); err != nil {
			t.Fatal(err)
		}
	}
	if err := Discard(addr, mib); err != nil {
		t.Error(err)
	}
}

// vmFlags returns the VmFlags line of the mapping that starts at or holds
// addr, "" when there is none.
func vmFlags(t *testing.T, addr uintptr) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
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
