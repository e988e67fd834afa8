//go:build !race

package arena

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
)

// Ranges have names in /proc/PID/maps where the kernel has such names. Arenas work where it hasn't.
func TestRangesHaveNames(t *testing.T) {
	restore := sys.FailNth(sys.CallSetName, 0, syscall.EINVAL) // as without CONFIG_ANON_VMA_NAME
	a := open(t, Config{Name: "nameless"})
	restore()
	a.Free(alloc(t, a, 0, 0).Page)

	forgetRanges(t)
	a = open(t, Config{Name: "shop"})
	named := kernelNames(t) // without CONFIG_ANON_VMA_NAME mappings must show no name
	a.Free(alloc(t, a, 0, 0).Page)
	addr := mapped(t, a, 5*mib)
	check := func(what string, from, to uintptr, want string) {
		t.Helper()
		for _, p := range parts(t, from, to) {
			if named && p.name != "anon:"+want+"]" || !named && p.name != "" {
				t.Errorf("%s: %+v should be named %q: %v", what, p, want, named)
			}
		}
	}
	check("range", a.base, rangeEnd(a), "slubd: arena shop")
	check("page map", a.pages.metas, a.pages.metas+a.pages.bytes(), "slubd: page map shop")
	check("mapping", addr, addr+5*mib, "slubd: large shop")
	a.Unmap(addr)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed range", a.base, rangeEnd(a), "slubd: closed arena")
	check("closed mapping", addr, addr+5*mib, "slubd: closed arena")
}

// kernelNames reports whether the kernel gives mappings names. It tries that on a page of its own,
// since an arena's mappings must have theirs from the arena.
func kernelNames(t *testing.T) bool {
	t.Helper()
	page, err := sys.ReserveAs(mem.PageSize, sys.NoAccess)
	if err != nil {
		t.Fatal(err)
	}
	refused := sys.SetName(page, mem.PageSize, "slubd: test")
	if refused != nil && !errors.Is(refused, syscall.EINVAL) {
		t.Fatal(refused)
	}
	if err := sys.Unmap(page, mem.PageSize); err != nil {
		t.Fatal(err)
	}
	return refused == nil
}

// Where every other page is locked and the process has no mapping left, discards are refused or
// done by MADV_DONTNEED_LOCKED. Either way no run is lost, and none is said to be zero that isn't.
func TestDiscardOfPartlyLockedRange(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	run := alloc(t, a, 4, 0)
	for i := range words(a, run) {
		words(a, run)[i] = 1
	}
	for page := uint32(0); page < 1<<4; page += 2 {
		if err := sys.Lock(a.Addr(run.Page+page), mem.PageSize); err != nil {
			t.Fatalf("8 pages can't be locked, see ulimit -l: %v", err)
		}
	}
	defer sys.Unlock(a.Addr(run.Page), mem.PageSize<<4)
	a.Free(run.Page)
	released := a.Purge(0)
	if failures := a.Stats().DiscardFailures; (released == 0) != (failures > 0) {
		t.Errorf("Purge released %d bytes, %d failures", released, failures)
	}
	again := alloc(t, a, 4, 0)
	if again.Page != run.Page || again.Zero && !allZero(words(a, again)) || again.Zero != (released > 0) {
		t.Errorf("%+v after %d bytes were released", again, released)
	}
	a.Free(again.Page)
}

// EINTR and EAGAIN of madvise are not failures. Where they don't end, the block stays dirty, the
// failure is counted, and the next Purge tries again.
func TestDiscardAfterEagain(t *testing.T) {
	a := open(t, Config{MaxDirty: Unlimited})
	for _, errno := range []syscall.Errno{syscall.EINTR, syscall.EAGAIN} {
		run := alloc(t, a, 2, 0)
		words(a, run)[5] = 1
		a.Free(run.Page)
		failures := a.Stats().DiscardFailures
		restore := sys.FailNth(sys.CallDiscard, 0, errno)
		released := a.Purge(0)
		restore()
		if s := a.Stats(); released != 0 || s.DiscardFailures != failures+1 || s.Nodes[0].Free != 4*mem.PageSize {
			t.Errorf("%v without end: %d bytes released, %+v", errno, released, s)
		}
		restore = sys.FailNth(sys.CallDiscard, 1, errno)
		released = a.Purge(0)
		restore()
		if s := a.Stats(); released != 4*mem.PageSize || s.DiscardFailures != failures+1 {
			t.Errorf("one %v: %d bytes released, %+v", errno, released, s)
		}
	}
}

// At vm.max_map_count nothing can become writable, nor be reserved. What is writable still works,
// freed runs are discarded, and all is well when mappings are free again. Go's runtime can't map
// memory meanwhile: it takes no profile and collects nothing, which could ask for some.
func TestMapCount(t *testing.T) {
	if !testutil.Child(t, "GODEBUG=memprofilerate=0", "GOGC=off") {
		return
	}
	// Free memory of the Go heap, so that it need not grow.
	runtime.KeepAlive(make([]byte, 32<<20))
	runtime.GC()
	topo := nodes(t, 0)
	a := open(t, Config{Topology: topo})
	run := alloc(t, a, 0, 0)
	fresh := open(t, Config{Topology: topo})
	pages := 2 * maxMapCount(t)
	wall, err := sys.ReserveAs(pages*mem.PageSize, sys.NoAccess)
	if err != nil {
		t.Fatal(err)
	}
	i := uintptr(0)
	for ; i < pages; i += 2 {
		if err = sys.Protect(wall+i*mem.PageSize, mem.PageSize, sys.ReadOnly); err != nil {
			break
		}
	}
	if err == nil {
		t.Fatalf("%d mappings were made", pages)
	}
	if _, err := fresh.Alloc(0, 0); !errors.Is(err, ErrCommit) || !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("an arena that must grow: %v", err)
	}
	other, err := New(Config{Topology: topo})
	if err == nil {
		t.Error("a new arena was made")
		err = other.Close()
	}
	if !errors.Is(err, ErrReserve) {
		t.Errorf("New: %v", err)
	}
	words(a, run)[0] = 1
	a.Free(run.Page)
	if n := a.Purge(0); n != mem.PageSize {
		t.Errorf("Purge released %d bytes", n)
	}
	run = alloc(t, a, 1, 0)
	if err := sys.Unmap(wall, pages*mem.PageSize); err != nil {
		t.Fatal(err)
	}
	fresh.Free(alloc(t, fresh, 0, 0).Page)
	a.Free(run.Page)
}

// maxMapCount is how many mappings a process may have.
func maxMapCount(t *testing.T) (n uintptr) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(text), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
