package arena

import (
	"errors"
	"sync"
	"testing"

	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/internal/sys"
	"github.com/slubd/slubd/numa"
)

func mapped(t *testing.T, a *Arena, n uintptr) uintptr {
	t.Helper()
	addr, _, err := a.Map(n, 0)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestMap(t *testing.T) {
	a := open(t, Config{})
	const n = 5<<20 + 1
	addr, zero, err := a.Map(n, 0)
	if err != nil || !zero || addr%maxRun != 0 || a.NodeIndex(addr) >= 0 {
		t.Fatalf("%#x, zeroed %v, %v", addr, zero, err)
	}
	bytes := uintptr(n - 1 + mem.PageSize)
	if got := a.Mapping(addr); got != bytes {
		t.Errorf("a mapping of %d bytes has %d", n, got)
	}
	for _, b := range mem.Bytes(addr, bytes) {
		if b != 0 {
			t.Fatal("not zeroed")
		}
	}
	if s := a.Stats(); s.Mappings != 1 || s.Mapped != uint64(bytes) {
		t.Errorf("stats are %+v", s)
	}
	if err := a.Close(); !errors.Is(err, ErrBusy) {
		t.Errorf("closing with a mapping: %v", err)
	}
	mem.Bytes(addr, bytes)[bytes-1] = 1
	if a.Mapping(addr+mem.PageSize) != 0 || a.Unmap(addr+mem.PageSize) || !a.Unmap(addr) || a.Unmap(addr) || a.Mapping(addr) != 0 {
		t.Error("a mapping is found, or ends, by another address, or twice")
	}
	// The next of about that size gets the same addresses, zeroed.
	again, zero, err := a.Map(n+mem.PageSize, 0)
	if err != nil || again != addr || !zero || mem.Bytes(addr, bytes)[bytes-1] != 0 {
		t.Errorf("%#x after %#x, zeroed %v, %v", again, addr, zero, err)
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
		n    uintptr
		node numa.Node
		want error
	}{
		"nothing": {0, 0, ErrReserve}, "too much": {maxMapping + 1, 0, ErrTooLarge},
		"node": {maxRun, 7, ErrNode}, "limit": {8*maxRun + 1, 0, ErrLimit},
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

// Mappings, runs in use and freed runs share the limit; freed runs give way.
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

// What the kernel will not discard stays charged, is handed out again as not zero, and
// is charged once.
func TestMapThatStays(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is discarded by the kernel here")
	}
	a := open(t, Config{Limit: 3 * maxRun})
	addr := mapped(t, a, 2*maxRun)
	mem.Bytes(addr, 1)[0] = 1
	undo := sys.FailNth(sys.CallDiscard, 1, errors.New("busy"))
	a.Unmap(addr)
	undo()
	if _, err := a.Alloc(MaxOrder, 0); err != nil {
		t.Fatal(err)
	}
	defer a.Free(0)
	if _, _, err := a.Map(3*maxRun, 0); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	again, zero, err := a.Map(2*maxRun, 0)
	if err != nil || again != addr || zero {
		t.Errorf("%#x after %#x, zeroed %v, %v", again, addr, zero, err)
	}
	a.Unmap(again)
	if charged, _ := a.ledger.load(); charged != maxRun/mem.PageSize || a.Stats().DiscardFailures != 1 {
		t.Errorf("%d pages are charged", charged)
	}
}

// Only the difference to what stayed is charged.
func TestMapThatStaysAndGrows(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is discarded by the kernel here")
	}
	a := open(t, Config{Limit: 2 * maxRun})
	sizes := []uintptr{2*maxRun - 8*mem.PageSize, 2 * maxRun, 2*maxRun - 4*mem.PageSize}
	for i, n := range sizes {
		addr := mapped(t, a, n)
		want := max(n, sizes[0])
		if i == 2 {
			want = sizes[1] // shrinking leaves what stayed charged
		}
		if charged, _ := a.ledger.load(); charged*mem.PageSize != uint64(want) {
			t.Errorf("round %d: %d bytes are charged, want %d", i, charged*mem.PageSize, want)
		}
		undo := func() {}
		if i < 2 {
			undo = sys.FailNth(sys.CallDiscard, 1, errors.New("busy"))
		}
		a.Unmap(addr)
		undo()
	}
	if charged, _ := a.ledger.load(); charged != 0 {
		t.Errorf("%d pages are charged for nothing", charged)
	}
}

// A mapping is bound when it is new or was another node's, and not else.
func TestMapIsBound(t *testing.T) {
	if heapBacked {
		t.Skip("nothing is bound here")
	}
	a := open(t, Config{Topology: numa.System(), Strictness: numa.Strict})
	node := a.Topology().Nodes()[0]
	for i, c := range []struct {
		n     uintptr
		binds bool
	}{{maxRun, true}, {maxRun, false}, {2 * maxRun, true}} {
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

// The ledger's sum can't run over.
func TestChargeBounds(t *testing.T) {
	var l ledger
	if !l.charge(1<<32-1, 0) || l.charge(1, 0) {
		t.Error("the sum of pages runs over")
	}
}

func TestMappingClasses(t *testing.T) {
	for n, want := range map[uintptr]uintptr{
		1: maxRun, maxRun: maxRun, maxRun + 1: 2 * maxRun, 33 << 20: 36 << 20, 64 << 20: 64 << 20, 65 << 20: 72 << 20, 1<<30 + 1: 9 << 27,
	} {
		if got := mappingClass(n); got != want {
			t.Errorf("%d bytes reserve %d, want %d", n, got, want)
		}
	}
}

// Mappings of several goroutines never overlap, and the limit is never exceeded.
func TestMapStorm(t *testing.T) {
	const users, most = 4, 3 * maxRun
	a := open(t, Config{Limit: users * most})
	var all sync.WaitGroup
	for id := range users {
		all.Go(func() {
			for i := range 200 {
				n := uintptr(1 + (id*7919+i*104729)%most)
				addr, zero, err := a.Map(n, 0)
				if err != nil {
					t.Error(err)
					return
				}
				first := mem.Bytes(addr, n)
				if zero && (first[0] != 0 || first[n-1] != 0) {
					t.Error("not zeroed")
				}
				first[0], first[n-1] = byte(id+1), byte(id+1)
				if first[0] != byte(id+1) || a.Mapping(addr) < n {
					t.Error("somebody else's")
				}
				a.Unmap(addr)
			}
		})
	}
	all.Wait()
}
