package arena

import (
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

func mapped(t *testing.T, a *Arena, n int64) uintptr {
	t.Helper()
	addr, _, err := a.Map(n, 0)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestMap(t *testing.T) {
	a := open(t, Config{MaxDirty: None})
	const n = 5<<20 + 1
	addr, dirty, err := a.Map(n, 0)
	if err != nil || dirty != 0 || addr%maxRun != 0 || a.NodeIndex(addr) >= 0 {
		t.Fatalf("%#x, %d bytes dirty, %v", addr, dirty, err)
	}
	const bytes = n - 1 + mem.PageSize
	if got := a.Mapping(addr); got != bytes {
		t.Errorf("a mapping of %d bytes has %d", n, got)
	}
	for _, b := range mem.Bytes(addr, bytes) {
		if b != 0 {
			t.Fatal("not zeroed")
		}
	}
	if s := a.Stats(); s.Mappings != 1 || s.Mapped != bytes {
		t.Errorf("stats are %+v", s)
	}
	if err := a.Close(); !errors.Is(err, ErrBusy) {
		t.Errorf("closing with a mapping: %v", err)
	}
	mem.Bytes(addr, bytes)[bytes-1] = 1
	if a.Mapping(addr+mem.PageSize) != 0 || a.Unmap(addr+mem.PageSize) || !a.Unmap(addr) || a.Unmap(addr) || a.Mapping(addr) != 0 {
		t.Error("a mapping is found or freed by another address, or freed twice")
	}
	// The next mapping of about that size gets the same addresses, zeroed.
	again, dirty, err := a.Map(n+mem.PageSize, 0)
	if err != nil || again != addr || dirty != 0 || mem.Bytes(addr, bytes)[bytes-1] != 0 {
		t.Errorf("%#x after %#x, %d bytes dirty, %v", again, addr, dirty, err)
	}
	a.Unmap(again)
	if s := a.Stats(); s.Mappings != 0 || s.Mapped != 0 {
		t.Errorf("stats are %+v", s)
	}
	if charged, _ := a.ledger.load(); charged != 0 {
		t.Errorf("%d pages are still charged", charged)
	}
}

func TestMapErrors(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is asked of the kernel here")
	}
	a := open(t, Config{Limit: 8 * maxRun})
	for name, c := range map[string]struct {
		n    int64
		node numa.Node
		want error
	}{
		"nothing":           {n: 0, want: ErrReserve},
		"less than nothing": {n: -1, want: ErrReserve},
		"too much":          {n: MaxMapping + 1, want: ErrTooLarge},
		"most of all":       {n: math.MaxInt64, want: ErrTooLarge},
		"node":              {n: maxRun, node: 7, want: ErrNode},
		"limit":             {n: 8*maxRun + 1, want: ErrLimit},
	} {
		if _, _, err := a.Map(c.n, c.node); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	refusal := errors.New("refused")
	undo := sys.FailNth(sys.CallReserve, 1, refusal)
	_, _, err := a.Map(2*maxRun+1, 0)
	undo()
	if !errors.Is(err, ErrReserve) || !errors.Is(err, refusal) {
		t.Errorf("refused: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("after failures: %v", err)
	}
	if _, _, err := a.Map(maxRun, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Mappings, runs in use and freed runs count against the limit; freed runs are discarded for a
// mapping.
func TestMapDiscardsRuns(t *testing.T) {
	a := open(t, Config{Limit: 4 * maxRun, MaxDirty: 4 * maxRun})
	keep := alloc(t, a, MaxOrder, 0)
	a.Free(alloc(t, a, MaxOrder, 0).Page)
	addr := mapped(t, a, 3*maxRun)
	if s := a.Stats(); s.Nodes[0].Free != 0 {
		t.Errorf("with all of the limit in use: %+v", s)
	}
	if _, err := a.Alloc(0, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("a page beyond the limit: %v", err)
	}
	a.Unmap(addr)
	a.Free(keep.Page)
}

// A mapping that the kernel will not discard stays charged, is handed out again as not zero, and is
// charged once.
func TestMapNotDiscarded(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is discarded by the kernel here")
	}
	a := open(t, Config{Limit: 3 * maxRun, MaxDirty: Unlimited})
	addr := mapped(t, a, 2*maxRun)
	mem.Bytes(addr, 1)[0] = 1
	undo := sys.FailNth(sys.CallDiscard, 1, errors.New("busy"))
	a.Unmap(addr)
	if n := a.Purge(0); n != 0 {
		t.Errorf("Purge released %d bytes", n)
	}
	undo()
	if _, err := a.Alloc(MaxOrder, 0); err != nil {
		t.Fatal(err)
	}
	defer a.Free(0)
	if _, _, err := a.Map(3*maxRun, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	again, dirty, err := a.Map(2*maxRun, 0)
	if err != nil || again != addr || dirty != 2*maxRun {
		t.Errorf("%#x after %#x, %d bytes dirty, %v", again, addr, dirty, err)
	}
	a.Unmap(again)
	a.Purge(0)
	if charged, _ := a.ledger.load(); charged != maxRun/mem.PageSize || a.Stats().DiscardFailures != 1 {
		t.Errorf("%d pages are charged", charged)
	}
}

// When such a mapping grows, only the difference is charged. When it shrinks, it stays charged for
// what the kernel would not discard.
func TestMapNotDiscardedGrows(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is discarded by the kernel here")
	}
	a := open(t, Config{Limit: 2 * maxRun, MaxDirty: Unlimited})
	sizes := []int64{2*maxRun - 8*mem.PageSize, 2 * maxRun, 2*maxRun - 4*mem.PageSize}
	for i, n := range sizes {
		undo := sys.FailNth(sys.CallDiscard, 0, errors.New("busy"))
		addr := mapped(t, a, n)
		undo()
		want := max(n, sizes[0])
		if i == 2 {
			want = sizes[1] // a smaller mapping charges no less
		}
		if charged, _ := a.ledger.load(); charged*mem.PageSize != want {
			t.Errorf("round %d: %d bytes are charged, want %d", i, charged*mem.PageSize, want)
		}
		a.Unmap(addr)
	}
	a.Purge(0)
	if charged, _ := a.ledger.load(); charged != 0 {
		t.Errorf("%d pages are charged without a mapping", charged)
	}
}

// A mapping is bound when it is new or was bound to another node, and only then.
func TestMapIsBound(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is bound here")
	}
	a := open(t, Config{Topology: numa.System(), Strictness: numa.Strict})
	node := a.Topology().Nodes()[0]
	for i, c := range []struct {
		n     int64
		binds bool
	}{{n: maxRun, binds: true}, {n: maxRun, binds: false}, {n: 2 * maxRun, binds: true}} {
		undo := sys.FailNth(sys.CallMbind, 1, errors.New("asked"))
		addr, _, err := a.Map(c.n, node)
		undo()
		if (err != nil) != c.binds {
			t.Errorf("mapping %d: %v, want the kernel asked: %v", i, err, c.binds)
		}
		if err == nil {
			a.Unmap(addr)
			continue
		}
		if addr, _, err = a.Map(c.n, node); err != nil {
			t.Skipf("no mbind here: %v", err)
		}
		a.Unmap(addr)
	}
}

func TestMapCommitRefused(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is asked of the kernel here")
	}
	a := open(t, Config{Populate: true})
	undo := sys.FailNth(sys.CallPopulate, 1, errors.New("no"))
	_, _, err := a.Map(2*maxRun, 0)
	undo()
	if charged, _ := a.ledger.load(); !errors.Is(err, ErrCommit) || charged != 0 || a.Stats().Mappings != 0 {
		t.Errorf("%v, %d pages are charged", err, charged)
	}
}

// The ledger's sum can't overflow.
func TestChargeBounds(t *testing.T) {
	var l ledger
	if !l.charge(1<<32-1, Unlimited) || l.charge(1, Unlimited) {
		t.Error("the sum of pages overflows")
	}
}

func TestMappingClasses(t *testing.T) {
	for n, want := range map[uintptr]uintptr{
		1: maxRun, maxRun: maxRun, maxRun + 1: 2 * maxRun,
		33 << 20: 36 << 20, 64 << 20: 64 << 20, 65 << 20: 72 << 20, 1<<30 + 1: 9 << 27,
	} {
		if got := mappingClass(n); got != want {
			t.Errorf("%d bytes reserve %d, want %d", n, got, want)
		}
	}
}

// Mappings of several goroutines never overlap, and the limit is never exceeded.
func TestMapStress(t *testing.T) {
	const users, most = 4, 3 * maxRun
	rounds := testutil.Stress(t, 800) / users
	if heapBacked {
		rounds = 20
	}
	a := open(t, Config{Limit: users * most})
	var all sync.WaitGroup
	for id := range users {
		all.Go(func() {
			for i := range rounds {
				n := int64(1 + (id*7919+i*104729)%most)
				addr, dirty, err := a.Map(n, 0)
				if err != nil {
					t.Error(err)
					return
				}
				first := mem.Bytes(addr, uintptr(n))
				for at := dirty; at < n; at += mem.PageSize {
					if first[at] != 0 {
						t.Errorf("byte %d of %d isn't zero, %d are dirty", at, n, dirty)
						break
					}
				}
				for at := int64(0); at < n; at += mem.PageSize {
					first[at] = byte(id + 1)
				}
				first[n-1] = byte(id + 1)
				runtime.Gosched()
				for at := int64(0); at < n; at += mem.PageSize {
					if first[at] != byte(id+1) {
						t.Errorf("byte %d of %d is another goroutine's", at, n)
						break
					}
				}
				if first[n-1] != byte(id+1) || a.Mapping(addr) < n {
					t.Error("the mapping is another goroutine's")
				}
				a.Unmap(addr)
			}
		})
	}
	all.Wait()
}

// Map doesn't say that the limit is reached while what is in use leaves room, although the dirty
// block that it wanted to discard has just been taken by another goroutine.
func TestMapFindsRoom(t *testing.T) {
	a := open(t, Config{Topology: nodes(t, 0, 1), Span: 64 * mib, Limit: 2 * maxRun, MaxDirty: Unlimited, Strictness: numa.Off})
	var done atomic.Bool
	var other sync.WaitGroup
	other.Go(func() { // at most a run in use, on node 0
		for !done.Load() {
			if run, err := a.Alloc(MaxOrder, 0); err == nil {
				a.Free(run.Page)
			}
		}
	})
	rounds := 5000
	if testing.Short() {
		rounds = 500
	}
	if heapBacked {
		rounds = 30
	}
	for range rounds {
		if run, err := a.Alloc(MaxOrder-1, 1); err == nil { // leaves half a run dirty on node 1
			a.Free(run.Page)
		}
		addr, _, err := a.Map(maxRun, 0) // the limit is what both use at most
		if err != nil {
			t.Error(err)
			break
		}
		a.Unmap(addr)
	}
	done.Store(true)
	other.Wait()
}
