//go:build !race && !asan

package arena

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

const adviseCollapse = 25 // MADV_COLLAPSE, Linux 6.1

// collapse has the kernel make huge pages of a range at once, as khugepaged does in the course of
// minutes (madvise(2), MADV_COLLAPSE). It returns how many it has made, and why not more.
func collapse(addr, n uintptr) (made int, why error) {
	const huge = 2 * mib
	for end := addr + n; addr < end; addr += huge {
		if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, addr, huge, adviseCollapse); e == 0 {
			made++
		} else {
			why = e
		}
	}
	return made, why
}

// needCollapse skips the test where the kernel has no collapse. Where it has one and makes no huge
// page, the test is skipped too, but with SLUBD_REQUIRE=1 it fails.
func needCollapse(t *testing.T) {
	t.Helper()
	probe, err := sys.Reserve(2 * maxRun)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Unmap(probe, 2*maxRun) }()
	addr := mem.AlignUp(probe, maxRun)
	// The kernel looks at the advice first, and then finds that there is nothing to do.
	if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, addr, 0, adviseCollapse); e != 0 {
		t.Skip("this kernel has no MADV_COLLAPSE (Linux 6.1): ", e)
	}
	*mem.At[byte](addr) = 1
	made, why := collapse(addr, 2*mib)
	switch {
	case made > 0:
	case os.Getenv("SLUBD_REQUIRE") == "1":
		t.Fatal("this kernel has MADV_COLLAPSE, and makes no huge page: ", why)
	default:
		t.Skip("this kernel has no huge page to spare: ", why)
	}
}

// residentIn returns how many bytes of a range are resident.
func residentIn(t *testing.T, addr, n uintptr) (bytes int64) {
	t.Helper()
	pages := make([]byte, n/mem.PageSize)
	if _, _, e := syscall.Syscall(syscall.SYS_MINCORE, addr, n, uintptr(unsafe.Pointer(&pages[0]))); e != 0 {
		t.Fatal(e)
	}
	for _, p := range pages {
		bytes += int64(p&1) * mem.PageSize
	}
	return bytes
}

// pagesOf allocates size bytes as runs of a page, and touches them.
func pagesOf(t *testing.T, a *Arena, size int64) (runs []Run) {
	for range size / mem.PageSize {
		run := alloc(t, a, 0, 0)
		*mem.At[byte](a.Addr(run.Page)) = 1
		runs = append(runs, run)
	}
	return runs
}

// TestHugePagesUndoNoPurge frees seven of eight pages of each huge page's part of an arena, and
// gives them back. The kernel can't make them resident again by putting a huge page in the place of
// the eighth, unless huge pages are left to the machine's setting. What is used later may be huge.
func TestHugePagesUndoNoPurge(t *testing.T) {
	const size = 64 * mib
	needCollapse(t)
	for name, c := range map[string]struct {
		mode        HugeMode
		huge, later bool
	}{
		"default": {HugeDefault, false, true},
		"never":   {HugeNever, false, false},
		"system":  {HugeSystem, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, Config{Span: 2 * size, MaxDirty: Unlimited, Decay: None, HugePages: c.mode})
			before := resident(t)
			payload := int64(0)
			for i, run := range pagesOf(t, a, size) {
				if i%8 == 0 {
					payload += mem.PageSize
					defer a.Free(run.Page)
				} else {
					a.Free(run.Page)
				}
			}
			a.Purge(0)
			purged := resident(t) - before
			made, _ := collapse(a.Base(), size)
			after := resident(t) - before
			t.Logf("payload %d KiB, resident %d, and %d with %d huge pages", payload>>10, purged>>10, after>>10, made)
			if purged > payload*5/4 {
				t.Errorf("%d bytes resident, payload %d", purged, payload)
			}
			if !c.huge && (made > 0 || after > payload*5/4) {
				t.Errorf("%d huge pages were made, %d bytes are resident, payload %d", made, after, payload)
			}
			var runs []Run
			for range size / maxRun {
				runs = append(runs, alloc(t, a, MaxOrder, 0)) // no room below
				*mem.At[byte](a.Addr(runs[len(runs)-1].Page)) = 1
				defer a.Free(runs[len(runs)-1].Page)
			}
			later, _ := collapse(a.Addr(runs[0].Page), maxRun)
			if c.later != (later > 0) || c.huge && after < payload*4 {
				t.Errorf("%d huge pages, %d bytes resident, %d huge pages later", made, after, later)
			}
		})
	}
}

// TestHugePagesUndoNoDiscard cuts a kept mapping off within a huge page, since a shorter one is
// needed, and gives it back. Until then the kernel can't make resident what was cut off, unless
// huge pages are left to the machine's setting. Afterwards nothing of the mapping is resident, nor
// can be, whatever was made of it before.
func TestHugePagesUndoNoDiscard(t *testing.T) {
	needCollapse(t)
	const long, short = 8 * mib, 5*mib + mem.PageSize
	for name, c := range map[string]struct {
		mode HugeMode
		made int
	}{
		"default": {HugeDefault, 0},
		"never":   {HugeNever, 0},
		"system":  {HugeSystem, 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, Config{MaxDirty: Unlimited, Decay: None, HugePages: c.mode})
			addr := mapped(t, a, long)
			paint(addr, long)
			a.Unmap(addr)
			again(t, a, short, addr, short)
			if n := residentIn(t, addr, long); n != short {
				t.Fatalf("%d bytes are resident of %d", n, short)
			}
			made, _ := collapse(addr+4*mib, 4*mib)
			want := int64(short)
			if c.made > 0 {
				want = 6 * mib
			}
			if n := residentIn(t, addr, long); made != c.made || n != want {
				t.Errorf("%d huge pages were made, %d bytes are resident, want %d and %d", made, n, c.made, want)
			}
			a.Unmap(addr)
			for _, kept := range []int64{4 * mib, 0} {
				a.Purge(1)
				collapse(addr+uintptr(kept), uintptr(long-kept))
				if n := residentIn(t, addr, long); n != kept || a.Stats().MappedFree != kept {
					t.Errorf("%d bytes are resident, %d count, want %d", n, a.Stats().MappedFree, kept)
				}
			}
		})
	}
}
