package arena

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
)

func TestPopulate(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is populated")
	}
	for _, refusal := range []error{nil, syscall.EINVAL} { // EINVAL as before Linux 5.14
		restore := func() {}
		if refusal != nil {
			restore = sys.FailNth(sys.CallPopulate, 0, refusal)
		}
		a := open(t, Config{Populate: true})
		run := alloc(t, a, 9, 0)
		restore()
		status := make([]int32, 1)
		for page := range uint32(1 << 9) {
			err := sys.NodesOf([]uintptr{a.Addr(run.Page + page)}, status)
			if err == nil && status[0] < 0 {
				t.Fatalf("refusal %v: page %d isn't there: %d", refusal, page, status[0])
			}
		}
		if !run.Zero || !allZero(words(a, run)) {
			t.Error("a populated run isn't zero")
		}
		a.Free(run.Page)
	}
}

func TestRefusedCommit(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is committed")
	}
	for call, cfg := range map[sys.Call]Config{sys.CallPopulate: {Populate: true}, sys.CallLock: {Lock: true}} {
		a := open(t, cfg)
		restore := sys.FailNth(call, 0, syscall.ENOMEM)
		for range 2 { // the run that failed isn't handed out uncommitted
			_, err := a.Alloc(0, 0)
			if !errors.Is(err, ErrCommit) || !errors.Is(err, ErrNoMemory) || !errors.Is(err, syscall.ENOMEM) {
				t.Errorf("%v fails: %v", call, err)
			}
			if n := a.Stats().Nodes[0]; n.Runs != 0 || n.Used != 0 || n.Free != 0 {
				t.Errorf("%v failed and left %+v", call, n)
			}
			check(a)
		}
		restore()
		run, err := a.Alloc(0, 0)
		if err != nil {
			t.Logf("the kernel itself refuses: %v", err) // RLIMIT_MEMLOCK
			continue
		}
		if !run.Zero {
			t.Errorf("%v works again: %+v", call, run)
		}
		a.Free(run.Page)
	}
}

// expectLocked fails the test unless all of [from, from+n) is locked, or none of it. In race builds
// nothing is. The kernel may discard pages and leave their mapping locked, so zeroes don't tell.
func expectLocked(t *testing.T, what string, from, n uintptr, want bool) {
	t.Helper()
	found := parts(t, from, from+n)
	if len(found) == 0 {
		t.Errorf("%s: nothing is mapped at %#x", what, from)
	}
	for _, p := range found {
		if locked := strings.Contains(p.flags, " lo "); locked != (want && !heapBacked) {
			t.Errorf("%s: locked is %t: %+v", what, locked, p)
		}
	}
}

// A run that could not be committed is unlocked, in case that the kernel locked a part of it.
func TestRefusedLockLeavesNothingLocked(t *testing.T) {
	if heapBacked {
		t.Skip("race build: nothing is locked")
	}
	a := open(t, Config{Lock: true})
	run, err := a.Alloc(1, 0)
	if err != nil {
		t.Skip(err) // RLIMIT_MEMLOCK
	}
	expectLocked(t, "a run", a.Addr(run.Page), run.bytes(), true)
	a.returnUncommitted(&a.zones[0], run)
	a.runs.Add(-1)
	expectLocked(t, "after the run was returned", a.Addr(run.Page), run.bytes(), false)
	if s := a.Stats(); s.Nodes[0].Free != 0 || s.DiscardFailures != 0 {
		t.Errorf("after the run was returned: %+v", s)
	}
}

// Close unlocks the arena's pages and gives them back.
func TestCloseUnlocks(t *testing.T) {
	a := open(t, Config{Lock: true})
	run, err := a.Alloc(1, 0)
	if err != nil {
		t.Skip(err) // RLIMIT_MEMLOCK
	}
	words(a, run)[0] = 1
	a.Free(run.Page)
	expectLocked(t, "a freed run", a.Addr(run.Page), run.bytes(), true)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	expectLocked(t, "after Close", a.Addr(run.Page), run.bytes(), false)
	if words(a, run)[0] != 0 {
		t.Error("a closed arena kept locked pages")
	}
}

// A freed mapping is unlocked and given back, and no longer counts against the limit.
func TestLockedMapping(t *testing.T) {
	a := open(t, Config{Lock: true, Limit: 6 * mib})
	for range 2 {
		addr, dirty, err := a.Map(5*mib, 0)
		if err != nil {
			t.Skip(err) // RLIMIT_MEMLOCK
		}
		if dirty != 0 {
			t.Error("the mapping isn't zero")
		}
		*mem.At[byte](addr) = 1
		expectLocked(t, "a mapping", addr, 5*mib, true)
		a.Unmap(addr)
		expectLocked(t, "after Unmap", addr, 5*mib, false)
		unpoison(addr, 1)
		if charged, _ := a.ledger.load(); charged != 0 || *mem.At[byte](addr) != 0 || a.Stats().DiscardFailures != 0 {
			t.Errorf("after Unmap: %d pages charged, first byte %d", charged, *mem.At[byte](addr))
		}
	}
}

// Locked pages of freed runs are not given back before Close, and count against the limit.
func TestLock(t *testing.T) {
	a := open(t, Config{Lock: true, MaxDirty: None, Limit: 4 * mem.PageSize})
	run, err := a.Alloc(1, 0)
	if err != nil {
		t.Skip(err) // RLIMIT_MEMLOCK
	}
	a.Free(run.Page)
	if n := a.Purge(0); n != 0 {
		t.Errorf("Purge released %d locked bytes", n)
	}
	if n := a.Stats().DiscardFailures; n != 0 {
		t.Errorf("%d attempts to discard locked pages", n)
	}
	if _, err := a.Alloc(2, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("6 pages, 2 of them locked, with a limit of 4: %v", err)
	}
	a.Free(alloc(t, a, 1, 0).Page)
}
