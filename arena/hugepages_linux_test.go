//go:build !race && !asan

package arena

import (
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// collapse has the kernel make huge pages of a range at once, as khugepaged does in the course of
// minutes (madvise(2), MADV_COLLAPSE, Linux 6.1). It returns how many it has made.
func collapse(addr, n uintptr) (made int) {
	const collapse, huge = 25, 2 * mib
	for end := addr + n; addr < end; addr += huge {
		if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, addr, huge, collapse); e == 0 {
			made++
		}
	}
	return made
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
	probe, err := sys.Reserve(2 * maxRun)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Unmap(probe, 2*maxRun) }()
	*mem.At[byte](mem.AlignUp(probe, maxRun)) = 1
	if collapse(mem.AlignUp(probe, maxRun), maxRun) == 0 {
		t.Skip("this kernel has no MADV_COLLAPSE (Linux 6.1), or no huge page to spare")
	}
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
			made := collapse(a.Base(), size)
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
			later := collapse(a.Addr(runs[0].Page), maxRun)
			if c.later != (later > 0) || c.huge && after < payload*4 {
				t.Errorf("%d huge pages, %d bytes resident, %d huge pages later", made, after, later)
			}
		})
	}
}
