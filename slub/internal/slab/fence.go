package slab

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

// Behind some slabs lies a fence, a page that can be neither read nor written: an overrun that is
// long enough to get there, or that begins in the slab's last object, faults at once instead of
// reaching the next slab.
//
// The page is the last one of the slab's run, which has one page more for it. It has no owner word,
// so a pointer into it is refused as one to a page without a slab. It becomes writable again before
// the run goes back to the arena, which knows nothing of fences.
//
// Each takes two mappings more from the process, whose number the kernel bounds (vm.max_map_count).
// All fences together take at most a quarter of them. Behind that, and where the kernel refuses or
// a run can't have one page more, slabs have none.

// fences is the number of slabs in the process that have one.
var fences atomic.Int64

// maxFences is the bound for fences.
var maxFences = sync.OnceValue(func() int64 {
	mappings := int64(65530) // the kernel's default
	if text, err := os.ReadFile("/proc/sys/vm/max_map_count"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			mappings = n
		}
	}
	return mappings / 8
})

// takeFenced takes the run of a slab that is to have a fence. ok is false if it is to have none,
// or can't.
func (s *Slabs) takeFenced(pages, node int) (run arena.Run, ok bool) {
	if s.fenceEvery == 0 || s.made.Add(1)%s.fenceEvery != 0 {
		return arena.Run{}, false
	}
	if !fenceable || pages >= 1<<arena.MaxOrder || s.arena.RunPages(pages+1) != pages+1 {
		return arena.Run{}, false
	}
	if fences.Add(1) > maxFences() {
		fences.Add(-1)
		return arena.Run{}, false
	}
	run, err := s.takeRun(pages+1, node)
	if err != nil {
		fences.Add(-1)
		return arena.Run{}, false
	}
	if sys.Protect(s.arena.Addr(run.Page)+uintptr(pages)*mem.PageSize, mem.PageSize, sys.NoAccess) != nil {
		fences.Add(-1)
		s.freeRun(run.Page, pages+1)
		return arena.Run{}, false
	}
	return run, true
}

// openFence makes the fence of a run writable again. If the kernel refuses, the run stays taken:
// the arena must not hand out a page that faults.
func (s *Slabs) openFence(page uint32, pages int) bool {
	if sys.Protect(s.arena.Addr(page)+uintptr(pages)*mem.PageSize, mem.PageSize, sys.ReadWrite) != nil {
		return false
	}
	fences.Add(-1)
	return true
}
